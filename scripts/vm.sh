#!/usr/bin/env bash
# Runs a command as root on a kernel that has sch_netem, in a throw-away virtual machine:
#
#   scripts/vm.sh CMD [ARGS…]
#
# The machine sees this one's files, read and write, and starts CMD in the caller's working
# directory with the caller's environment; /run and /tmp are its own and empty (but for the working
# directory, if it is there), standard input is empty, and the only network is lo. Its standard output,
# standard error and exit status are CMD's.
# What CMD leaves running is killed, and the machine is gone when this script returns.
#
#   VM_TIMEOUT   seconds after which it gives up with status 124 (default 600)
#
# Emulation only (TCG), so it works wherever qemu does: use it to prove behaviour, not to measure speed.
# The kernel is the distribution's own, unpacked into target/vm and never installed; what is missing
# (qemu, kmod) is installed with apt-get if root runs this, and asked for otherwise.
# Status 125: there can be no machine here; 137: the machine died; 126 and 127 are as in a shell.
set -euo pipefail

target=${CARGO_TARGET_DIR:-$(dirname -- "$(dirname -- "$(realpath -- "$0")")")/target}
# In the order in which they are loaded; dependencies are added. What the kernel has built in is fine, too.
modules=(virtio_pci virtio_console qemu_fw_cfg 9pnet_virtio 9p
  sch_netem sch_htb sch_fq veth bridge dummy tun vxlan ip6_tunnel)

main() {
  (($# > 0)) || fail "usage: scripts/vm.sh CMD [ARGS…]"
  [[ $(uname -m) == x86_64 ]] || fail "x86_64 only: the machine runs this one's programs"
  install_missing
  local recipe image
  recipe=$(sha256sum <"$0" | cut -c1-12)
  image=$target/vm/$recipe
  [[ -d $image ]] || build_image "$image"

  qemu=
  trap stop EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  run "$image" "$@"
}

fail() {
  echo "vm.sh: $*" >&2
  exit 125
}

stop() {
  [[ -n $qemu ]] || return 0
  kill -KILL "$qemu" 2>/dev/null || true
  wait "$qemu" 2>/dev/null || true
}

install_missing() {
  local missing=()
  [[ -n $(type -P qemu-system-x86_64) ]] || missing+=(qemu-system-x86)
  [[ -n $(PATH=$PATH:/usr/sbin:/sbin type -P depmod) ]] || missing+=(kmod)
  ((${#missing[@]} > 0)) || return 0
  [[ $EUID == 0 && -n $(type -P apt-get) ]] || fail "please install first: ${missing[*]}"
  echo "vm.sh: installing ${missing[*]}" >&2
  apt-get install -y --no-install-recommends "${missing[@]}" >&2 ||
    fail "apt-get could not install ${missing[*]}"
}

# Makes the folder $1 with vmlinuz and initramfs.
build_image() (
  local image=$1 work packages kernel
  mkdir -p "$target/vm"
  work=$(mktemp -d "$target/vm/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  export PATH=$PATH:/usr/sbin:/sbin

  [[ -n $(type -P apt-get) ]] || fail "takes its kernel from Debian's or Ubuntu's packages: no apt-get here"
  mapfile -t packages < <(kernel_packages)
  ((${#packages[@]} > 0)) || fail "apt-get knows no kernel package: try apt-get update"
  echo "vm.sh: unpacking ${packages[*]} into $target/vm" >&2
  # No sandbox user: it could not write here, and says so.
  apt-get -qq -o APT::Sandbox::User=root download "${packages[@]}" busybox-static ||
    fail "apt-get could not download ${packages[*]}: try apt-get update"
  local package
  for package in *.deb; do
    dpkg-deb --fsys-tarfile "$package" |
      tar -x --no-same-owner --keep-directory-symlink --wildcards --exclude='./usr/share' --exclude='*/drivers/gpu'
  done
  kernel=$(basename -- boot/vmlinuz-*)
  kernel=${kernel#vmlinuz-}
  # A merged-/usr package has them below usr/.
  [[ -d lib/modules ]] || { mkdir -p lib && ln -s ../usr/lib/modules lib/modules; }
  depmod -b . "$kernel"

  mkdir -p root/modules finished
  copy_modules "$kernel" root/modules
  cp "$(find . -path '*bin/busybox' -type f -print -quit)" root/busybox
  write_early_init >root/init
  chmod +x root/init
  (cd root && find . | ./busybox cpio -o -H newc 2>/dev/null) | gzip -1 >finished/initramfs
  cp boot/vmlinuz-* finished/vmlinuz
  find .. -mindepth 1 -maxdepth 1 ! -name 'build.*' -exec rm -rf {} +
  # Someone else may have been quicker.
  mv -T finished "$image" 2>/dev/null || [[ -d $image ]]
)

# The newest kernel of the distribution, with all modules: Debian's cloud kernel has no 9p.
kernel_packages() {
  local name
  for name in linux-image-amd64 linux-image-generic; do
    apt-cache depends --recurse --important "$name" 2>/dev/null |
      grep -E '^linux-(image|modules|modules-extra)-[0-9][^ ]*-(amd64|generic)$' && return
  done || true
}

# Copies kernel $1's modules and all they need to the folder $2, uncompressed and in loading order.
copy_modules() {
  local kernel=$1 to=$2 module file count=0
  declare -A copied=()
  for module in "${modules[@]}"; do
    modprobe -d . -S "$kernel" --show-depends "$module" >depends || fail "kernel $kernel has no $module"
    while read -r verb file _; do
      [[ $verb == insmod && -z ${copied[$file]:-} ]] || continue
      copied[$file]=yes
      count=$((count + 1))
      case $file in
        *.xz) xz -dc "$file" ;;
        *.zst) zstd -qdc "$file" ;;
        *.gz) gzip -dc "$file" ;;
        *) cat "$file" ;;
      esac >"$to/$(printf %03d "$count").ko"
    done <depends
  done
}

# The first program: loads the modules, puts the host's file system in place and goes there.
write_early_init() {
  cat <<'INIT'
#!/busybox sh
/busybox mkdir -p /bin /proc /mnt
/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
for module in /modules/*.ko; do insmod "$module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose host /mnt
mkdir /host
mount -o bind /mnt /host
mount -t proc proc /mnt/proc
mount -t sysfs sysfs /mnt/sys
mount -t devtmpfs devtmpfs /mnt/dev
mount -t tmpfs -o mode=755 tmpfs /mnt/run
mount -t tmpfs -o mode=1777 tmpfs /mnt/tmp
mkdir -p /mnt/dev/pts /mnt/dev/shm /mnt/run/lock
directory=$(cat /mnt/sys/firmware/qemu_fw_cfg/by_name/opt/vm/directory/raw)
case $directory in
  /tmp/* | /run/*)
    mkdir -p "/mnt$directory"
    mount -o bind "/host$directory" "/mnt$directory"
    ;;
esac
umount /host
mount -t devpts -o ptmxmode=666 devpts /mnt/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /mnt/dev/shm
ln -s /proc/self/fd /mnt/dev/fd
ln -s /proc/self/fd/0 /mnt/dev/stdin
ln -s /proc/self/fd/1 /mnt/dev/stdout
ln -s /proc/self/fd/2 /mnt/dev/stderr
ifconfig lo up
ulimit -Hn 1048576
umount /proc
exec switch_root /mnt /bin/bash /sys/firmware/qemu_fw_cfg/by_name/opt/vm/init/raw
INIT
}

# The second program, process 1 from here on. The ports can be opened once only, so CMD gets pipes.
write_init() {
  cat <<'INIT'
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkfifo /run/vm-out /run/vm-err
cat /run/vm-out >/dev/vport*p1 & out=$!
cat /run/vm-err >/dev/vport*p2 & err=$!
/bin/bash /sys/firmware/qemu_fw_cfg/by_name/opt/vm/command/raw </dev/null >/run/vm-out 2>/run/vm-err
status=$?
for process in /proc/[0-9]*; do
  case ${process#/proc/} in
    1 | "$out" | "$err") ;;
    *) kill -KILL "${process#/proc/}" 2>/dev/null ;;
  esac
done
wait "$out" "$err"
sync
echo "$status" >/dev/vport*p3
echo b >/proc/sysrq-trigger
INIT
}

# A script that runs "$@" as it would have been run here.
write_command() {
  export -p
  printf 'cd -- %q || exit 126\n' "$PWD"
  printf 'exec'
  printf ' %q' "$@"
  printf '\n'
}

run() {
  local image=$1 console log out err printer_out printer_err status code=0
  shift
  # Open, but already without a name: nothing to clean up, however this script ends.
  console=$(mktemp)
  exec {log}<>"$console"
  rm "$console"
  exec {out}> >(exec cat)
  printer_out=$!
  exec {err}> >(exec cat >&2)
  printer_err=$!
  # qemu's standard output is the port on which the machine tells CMD's status; its end is qemu's end.
  # setpriv: a killed script does not leave a machine behind.
  exec {status}< <(exec setpriv --pdeathsig KILL qemu-system-x86_64 \
    -accel tcg,thread=multi -cpu max -m 2G -smp 2 -nic none -no-reboot \
    -display none -monitor none -serial "file:/proc/self/fd/$log" \
    -kernel "$image/vmlinuz" -initrd "$image/initramfs" \
    -append "console=ttyS0 panic=-1 quiet mitigations=off" \
    -fw_cfg name=opt/vm/directory,file=<(printf %s "$PWD") \
    -fw_cfg name=opt/vm/init,file=<(write_init) \
    -fw_cfg name=opt/vm/command,file=<(write_command "$@") \
    -fsdev local,id=host,path=/,security_model=none,multidevs=remap \
    -device virtio-9p-pci,fsdev=host,mount_tag=host \
    -device virtio-serial-pci \
    -chardev "file,id=out,path=/proc/self/fd/$out" -device virtserialport,chardev=out,nr=1 \
    -chardev "file,id=err,path=/proc/self/fd/$err" -device virtserialport,chardev=err,nr=2 \
    -chardev file,id=status,path=/proc/self/fd/1 -device virtserialport,chardev=status,nr=3)
  qemu=$!
  exec {out}>&- {err}>&-

  read -r -t "${VM_TIMEOUT:-600}" -u "$status" code || code=$((-$?))
  stop
  wait "$printer_out" "$printer_err" || true
  if ((code >= 0)); then
    exit "$code"
  elif ((code < -128)); then
    echo "vm.sh: no end after ${VM_TIMEOUT:-600} s: $*" >&2
    exit 124
  else
    echo "vm.sh: the machine died; its console:" >&2
    cat "/proc/self/fd/$log" >&2
    exit 137
  fi
}

main "$@"
