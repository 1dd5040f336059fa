#!/usr/bin/env bash
# Runs an experiment for a CI service, and ends with its exit code: 1 when an assertion does not hold, 7 when what was measured
# is not valid. The results, a page to look at and a JUnit file are there in any case. action.yml calls it; it works by hand:
#
#   EXPERIMENT=experiments/handoff.yaml scripts/action.sh
#
#   EXPERIMENT           the experiment file
#   COMMAND              run (in a lab, the default) or sim (in virtual time)
#   LINKS                what emulates the links of a lab: netem (the default), userspace, plain, auto
#   RESULTS              directory for the results, which must not exist yet (default samp-lab-results)
#   SAMP_LAB_PROGRAM     the samp-lab to take; without it, one is built with cargo
#   GITHUB_STEP_SUMMARY  a file to which a summary is added, in Markdown
#   GITHUB_OUTPUT        a file to which the line results=DIRECTORY is added
#
# A lab is made as root where sudo asks for no password, else without.
set -euo pipefail

repository=$(dirname -- "$(dirname -- "$(realpath -- "$0")")")
experiment=${EXPERIMENT:?the experiment file is to be in EXPERIMENT}
command=${COMMAND:-run}
links=${LINKS:-netem}
results=${RESULTS:-samp-lab-results}

main() {
  local program=${SAMP_LAB_PROGRAM:-} prefix=() options=(--out "$results/run" --junit "$results/junit.xml") status=0
  [[ $command == run || $command == sim ]] || fail "COMMAND is run or sim, not $command"
  [[ ! -e $results ]] || fail "$results is there already"
  if [[ -z $program ]]; then
    cargo build --release --locked --manifest-path "$repository/Cargo.toml" --package samp-lab
    program=${CARGO_TARGET_DIR:-$repository/target}/release/samp-lab
  fi
  if [[ $command == run ]]; then
    options+=(--links "$links")
    [[ $EUID == 0 ]] || ! sudo -n true 2>/dev/null || prefix=(sudo)
  fi
  mkdir -p "$results"
  output "results=$results"

  "${prefix[@]}" "$program" "$command" "$experiment" "${options[@]}" || status=$?
  [[ ${#prefix[@]} == 0 ]] || sudo chown -R "$(id -u):$(id -g)" "$results"
  summarise "$program" "$status"
  exit "$status"
}

# A run that was broken off has another name, and no page.
summarise() {
  [[ -n ${GITHUB_STEP_SUMMARY:-} ]] || GITHUB_STEP_SUMMARY=/dev/null
  if [[ -d $results/run ]]; then
    "$1" --format markdown report "$results/run" >>"$GITHUB_STEP_SUMMARY"
  else
    echo "**$experiment** has no results: exit code $2" >>"$GITHUB_STEP_SUMMARY"
  fi
}

output() {
  [[ -z ${GITHUB_OUTPUT:-} ]] || echo "$1" >>"$GITHUB_OUTPUT"
}

fail() {
  echo "action.sh: $*" >&2
  exit 2
}

main
