//! The two programs, instruction by instruction (Documentation/bpf/standardization/instruction-set.rst).

use super::MAX_RADIOS;
use super::syscall::Map;

/// `struct bpf_insn`: opcode, registers (source above destination), offset, immediate.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Instruction {
    opcode: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

// linux/bpf.h: helpers, offsets in struct __sk_buff, verdicts (linux/pkt_cls.h).
const MAP_LOOKUP_ELEM: i32 = 1;
const CLONE_REDIRECT: i32 = 13;
const REDIRECT: i32 = 23;
const SKB_LOAD_BYTES: i32 = 26;
const SKB_IFINDEX: i16 = 40;
const SHOT: i32 = 2;

// Where things are on the stack, below r10.
const ADDRESS: i16 = -8;
const INDEX: i16 = -12;
const NUMBER: i16 = -16;

/// At a radio's end: on to where it is attached.
pub(super) fn up(attached: &Map) -> Vec<Instruction> {
    let mut code = Assembler::default();
    code.load_word(2, 1, SKB_IFINDEX);
    code.store_word(INDEX, 2);
    code.look_up(attached, INDEX);
    code.jump_if_zero(0, "drop");
    code.load_word(1, 0, 0);
    code.redirect();
    code.end()
}

/// At an access router's end: down to the radio with that address, or to all that are attached there.
pub(super) fn down(attached: &Map, addresses: &Map, radios: &Map) -> Vec<Instruction> {
    let mut code = Assembler::default();
    code.copy(6, 1);
    code.load_word(7, 1, SKB_IFINDEX);
    code.store_zero(ADDRESS);
    code.set(2, 0);
    code.stack(3, ADDRESS);
    code.set(4, 6);
    code.call(SKB_LOAD_BYTES);
    code.jump_unless_zero(0, "drop");
    code.load_byte(1, ADDRESS);
    // The group bit (IEEE 802, §8.2): multicast and broadcast.
    code.jump_if_set(1, 1, "group");

    code.look_up(addresses, ADDRESS);
    code.jump_if_zero(0, "drop");
    code.load_word(8, 0, 0);
    code.store_word(INDEX, 8);
    code.look_up(attached, INDEX);
    code.jump_if_zero(0, "drop");
    code.load_word(1, 0, 0);
    code.jump_unless_equal(1, 7, "drop");
    code.copy(1, 8);
    code.redirect();

    code.label("group");
    code.set(9, 0);
    code.label("next");
    code.store_word(NUMBER, 9);
    code.look_up(radios, NUMBER);
    code.jump_if_zero(0, "drop");
    code.load_word(8, 0, 0);
    code.jump_if_zero(8, "drop");
    code.store_word(INDEX, 8);
    code.look_up(attached, INDEX);
    code.jump_if_zero(0, "over");
    code.load_word(1, 0, 0);
    code.jump_unless_equal(1, 7, "over");
    code.copy(1, 6);
    code.copy(2, 8);
    code.set(3, 0);
    code.call(CLONE_REDIRECT);
    code.label("over");
    code.add(9, 1);
    code.jump_if_less(9, MAX_RADIOS as i32, "next");
    code.end()
}

/// Instructions, and the jumps whose targets are not known yet.
#[derive(Default)]
struct Assembler {
    code: Vec<Instruction>,
    labels: Vec<(&'static str, usize)>,
    jumps: Vec<(usize, &'static str)>,
}

impl Assembler {
    fn push(&mut self, opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) {
        self.code.push(Instruction { opcode, registers: source << 4 | destination, offset, immediate });
    }

    fn set(&mut self, register: u8, value: i32) {
        self.push(0xb7, register, 0, 0, value);
    }

    fn copy(&mut self, to: u8, from: u8) {
        self.push(0xbf, to, from, 0, 0);
    }

    fn add(&mut self, register: u8, value: i32) {
        self.push(0x07, register, 0, 0, value);
    }

    /// The address of what is on the stack there.
    fn stack(&mut self, register: u8, at: i16) {
        self.copy(register, 10);
        self.add(register, at.into());
    }

    fn load_word(&mut self, to: u8, from: u8, at: i16) {
        self.push(0x61, to, from, at, 0);
    }

    fn load_byte(&mut self, to: u8, at: i16) {
        self.push(0x71, to, 10, at, 0);
    }

    fn store_word(&mut self, at: i16, from: u8) {
        self.push(0x63, 10, from, at, 0);
    }

    /// Eight bytes.
    fn store_zero(&mut self, at: i16) {
        self.push(0x7a, 10, 0, at, 0);
    }

    fn call(&mut self, helper: i32) {
        self.push(0x85, 0, 0, 0, helper);
    }

    /// r0 becomes the address of the value, or 0.
    fn look_up(&mut self, map: &Map, key: i16) {
        // Two instructions long; the source register says that it is a map's descriptor.
        self.push(0x18, 1, 1, 0, map.descriptor());
        self.push(0, 0, 0, 0, 0);
        self.stack(2, key);
        self.call(MAP_LOOKUP_ELEM);
    }

    /// Ends with the frame's way to the interface in r1.
    fn redirect(&mut self) {
        self.set(2, 0);
        self.call(REDIRECT);
        self.push(0x95, 0, 0, 0, 0);
    }

    fn jump(&mut self, opcode: u8, destination: u8, source: u8, immediate: i32, to: &'static str) {
        self.jumps.push((self.code.len(), to));
        self.push(opcode, destination, source, 0, immediate);
    }

    fn jump_if_zero(&mut self, register: u8, to: &'static str) {
        self.jump(0x15, register, 0, 0, to);
    }

    fn jump_unless_zero(&mut self, register: u8, to: &'static str) {
        self.jump(0x55, register, 0, 0, to);
    }

    fn jump_if_set(&mut self, register: u8, bits: i32, to: &'static str) {
        self.jump(0x45, register, 0, bits, to);
    }

    fn jump_unless_equal(&mut self, register: u8, other: u8, to: &'static str) {
        self.jump(0x5d, register, other, 0, to);
    }

    fn jump_if_less(&mut self, register: u8, value: i32, to: &'static str) {
        self.jump(0xa5, register, 0, value, to);
    }

    fn label(&mut self, name: &'static str) {
        self.labels.push((name, self.code.len()));
    }

    /// The program, whose end is "drop".
    fn end(mut self) -> Vec<Instruction> {
        self.label("drop");
        self.set(0, SHOT);
        self.push(0x95, 0, 0, 0, 0);
        for (at, name) in self.jumps {
            let target =
                self.labels.iter().find(|(label, _)| *label == name).map_or(0, |(_, target)| *target);
            // Both are below a hundred.
            self.code[at].offset = (target as i16) - (at as i16) - 1;
        }
        self.code
    }
}
