//! What a routine's machine code does that its source may not show: whom it calls, whether it loops or locks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter, Instruction, IntelFormatter, Mnemonic, OpKind,
};
use object::read::pe::PeFile64;
use object::{Object, ObjectSection};

use super::map::Map;

/// The code of an image, and where it lies when the image is at its preferred address.
#[derive(Debug)]
pub(super) struct Code {
    sections: Vec<(u64, Vec<u8>)>,
}

impl Code {
    /// The sections of the image in `file`.
    pub(super) fn of(file: &Path) -> Result<Self> {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let image = PeFile64::parse(&*content)
            .with_context(|| format!("{} is no 64-bit PE image", file.display()))?;
        let mut sections = Vec::new();
        for section in image.sections() {
            sections.push((section.address(), section.data()?.to_vec()));
        }
        Ok(Self { sections })
    }

    /// The bytes from `begin` to `end`, or to the end of the section.
    fn bytes(&self, begin: u64, end: Option<u64>) -> Option<&[u8]> {
        self.sections.iter().find_map(|(base, data)| {
            let data = data.get(usize::try_from(begin.checked_sub(*base)?).ok()?..)?;
            let length = end.and_then(|end| usize::try_from(end.checked_sub(begin)?).ok());
            Some(&data[..length.map_or(data.len(), |length| length.min(data.len()))])
        })
    }
}

/// What is to be known of a routine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Routine {
    /// Whom it calls or jumps to, by name, in the order of its code.
    pub(super) calls: Vec<String>,
    /// What no service routine has a use for: a loop, a lock, a trap, a call of what cannot be known.
    pub(super) oddities: Vec<String>,
}

/// Follows the routine at `entry` through all of its branches.
pub(super) fn follow(code: &Code, map: &Map, entry: u64) -> Result<Routine> {
    let Some(bytes) = code.bytes(entry, map.next_after(entry)) else {
        bail!("there is no code at {entry:#x}");
    };
    let mut walk = Walk { bytes, entry, map, calls: BTreeMap::new(), oddities: BTreeMap::new() };
    walk.all();
    Ok(Routine {
        calls: walk.calls.into_values().collect(),
        oddities: walk.oddities.into_values().collect(),
    })
}

/// The way through a routine.
struct Walk<'a> {
    bytes: &'a [u8],
    entry: u64,
    map: &'a Map,
    /// What was found, by the address at which it is.
    calls: BTreeMap<u64, String>,
    oddities: BTreeMap<u64, String>,
}

impl Walk<'_> {
    /// Visits every instruction that can be reached, depth first. A branch to an instruction that is on the way from
    /// the entry to here is a loop; one to an instruction that was finished with is two ways that join.
    fn all(&mut self) {
        let mut finished = BTreeSet::new();
        let mut on_the_way = BTreeSet::from([self.entry]);
        let mut way = vec![(self.entry, self.visit(self.entry))];
        while let Some((address, next)) = way.last_mut() {
            let address = *address;
            match next.pop() {
                Some(target) if on_the_way.contains(&target) => {
                    self.odd(address, format!("it loops back to {target:#x}"));
                }
                Some(target) if !finished.contains(&target) => {
                    on_the_way.insert(target);
                    way.push((target, self.visit(target)));
                }
                Some(_) => {}
                None => {
                    on_the_way.remove(&address);
                    finished.insert(address);
                    way.pop();
                }
            }
        }
    }

    /// Takes down what the instruction at `address` does, and returns where it can lead inside the routine.
    fn visit(&mut self, address: u64) -> Vec<u64> {
        let Some(instruction) = self.decode(address) else {
            self.odd(address, "it runs into bytes that are no instruction".to_owned());
            return Vec::new();
        };
        if locks(&instruction) {
            self.odd(address, format!("it locks the bus: {}", written(&instruction)));
        }
        let next = instruction.next_ip();
        match instruction.flow_control() {
            FlowControl::Next => vec![next],
            FlowControl::Return => Vec::new(),
            FlowControl::UnconditionalBranch => self.branch(address, &instruction),
            FlowControl::ConditionalBranch => {
                let mut targets = self.branch(address, &instruction);
                targets.push(next);
                targets
            }
            FlowControl::Call => {
                self.calls.insert(address, self.map.name(instruction.near_branch_target()));
                vec![next]
            }
            FlowControl::IndirectCall => {
                self.through_a_pointer(address, &instruction);
                vec![next]
            }
            FlowControl::IndirectBranch => {
                self.through_a_pointer(address, &instruction);
                Vec::new()
            }
            FlowControl::Interrupt | FlowControl::XbeginXabortXend | FlowControl::Exception => {
                self.odd(address, format!("it gives up: {}", written(&instruction)));
                Vec::new()
            }
        }
    }

    /// A branch leads on inside the routine, or is a call that does not come back here.
    fn branch(&mut self, address: u64, instruction: &Instruction) -> Vec<u64> {
        let target = instruction.near_branch_target();
        let inside =
            target.checked_sub(self.entry).is_some_and(|offset| offset < self.bytes.len() as u64);
        if inside {
            vec![target]
        } else {
            self.calls.insert(address, self.map.name(target));
            Vec::new()
        }
    }

    /// A call or jump through the import table has a name; through anything else it can lead anywhere.
    fn through_a_pointer(&mut self, address: u64, instruction: &Instruction) {
        let import = (instruction.op0_kind() == OpKind::Memory
            && instruction.is_ip_rel_memory_operand())
        .then(|| self.map.import(instruction.ip_rel_memory_address()))
        .flatten();
        match import {
            Some(import) => {
                self.calls.insert(address, import.to_owned());
            }
            None => self.odd(
                address,
                format!("it calls what nobody knows before: {}", written(instruction)),
            ),
        }
    }

    fn decode(&self, address: u64) -> Option<Instruction> {
        let offset = usize::try_from(address.checked_sub(self.entry)?).ok()?;
        let bytes = self.bytes.get(offset..).filter(|bytes| !bytes.is_empty())?;
        let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        (!instruction.is_invalid()).then_some(instruction)
    }

    fn odd(&mut self, address: u64, what: String) {
        self.oddities.insert(address, what);
    }
}

/// Whether other processors have to wait for this instruction, or it for them.
fn locks(instruction: &Instruction) -> bool {
    let exchanges = instruction.mnemonic() == Mnemonic::Xchg
        && [instruction.op0_kind(), instruction.op1_kind()].contains(&OpKind::Memory);
    let fences = [Mnemonic::Mfence, Mnemonic::Lfence, Mnemonic::Sfence];
    instruction.has_lock_prefix() || exchanges || fences.contains(&instruction.mnemonic())
}

/// The instruction as people write it.
fn written(instruction: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: u64 = 0x1_8000_1000;

    /// A map in which the routine is 0x40 bytes long, a function of the library follows, then an import's stub and its
    /// slot.
    const MAP: &str = "\
 0001:00000000       routine                    0000000180001000     driver.o
 0001:00000040       _RNvNtCsgjm5NYk2FcO_13wdm_interrupt7routine4line 0000000180001040     driver.o
 0001:00000060       KeInsertQueueDpc           0000000180001060     ntoskrnl:ntoskrnl.exe
 0002:00000000       __imp_KeInsertQueueDpc     0000000180002000     ntoskrnl:ntoskrnl.exe
";

    fn follow_bytes(bytes: &[u8]) -> Routine {
        let mut section = bytes.to_vec();
        // What is behind a routine are breakpoints.
        section.resize(0x80, 0xCC);
        let code = Code { sections: vec![(ENTRY, section)] };
        follow(&code, &Map::parse(MAP), ENTRY).unwrap_or_default()
    }

    #[test]
    fn a_routine_that_reads_and_returns_calls_nobody() {
        // mov rax, [rdx]; cmp dword ptr [rax], 0; setne al; ret
        let routine = follow_bytes(b"\x48\x8b\x02\x83\x38\x00\x0f\x95\xc0\xc3");
        assert_eq!(routine, Routine::default());
    }

    #[test]
    fn a_call_is_found_through_the_stub_through_the_slot_and_as_the_last_jump() {
        // call 0x180001060; ret
        assert_eq!(follow_bytes(b"\xe8\x5b\x00\x00\x00\xc3").calls, ["KeInsertQueueDpc"]);
        // call [rip + 0xffa] (0x180002000); ret
        assert_eq!(follow_bytes(b"\xff\x15\xfa\x0f\x00\x00\xc3").calls, ["KeInsertQueueDpc"]);
        // jmp 0x180001060
        assert_eq!(follow_bytes(b"\xe9\x5b\x00\x00\x00").calls, ["KeInsertQueueDpc"]);
    }

    #[test]
    fn a_call_of_another_function_of_the_image_is_found_on_every_branch() {
        // je +1; ret; call 0x180001040; ret
        let routine = follow_bytes(b"\x74\x01\xc3\xe8\x38\x00\x00\x00\xc3");
        assert_eq!(routine.calls, ["wdm_interrupt::routine::line"]);
    }

    #[test]
    fn a_call_through_a_pointer_is_odd() {
        // call [rax]; ret
        let routine = follow_bytes(b"\xff\x10\xc3");
        assert_eq!(routine.oddities, ["it calls what nobody knows before: call qword ptr [rax]"]);
    }

    #[test]
    fn a_locked_instruction_is_odd_and_so_is_one_that_always_locks() {
        // lock inc dword ptr [rax]; ret
        let locked = follow_bytes(b"\xf0\xff\x00\xc3");
        assert_eq!(locked.oddities, ["it locks the bus: lock inc dword ptr [rax]"]);
        // xchg [rdx], eax; ret
        assert_eq!(follow_bytes(b"\x87\x02\xc3").oddities.len(), 1);
    }

    #[test]
    fn a_loop_is_odd() {
        // dec eax; jne -4; ret
        let routine = follow_bytes(b"\xff\xc8\x75\xfc\xc3");
        assert_eq!(routine.oddities, ["it loops back to 0x180001000"]);
    }

    #[test]
    fn a_jump_back_that_no_way_comes_round_by_again_is_no_loop() {
        // je +4 (to the jmp); test eax, eax; ret; nop; jmp -5 (to the ret)
        let routine = follow_bytes(b"\x74\x04\x85\xc0\xc3\x90\xeb\xfc");
        assert_eq!(routine, Routine::default());
    }

    #[test]
    fn a_trap_is_odd() {
        assert_eq!(follow_bytes(b"\x0f\x0b").oddities, ["it gives up: ud2"]);
    }

    #[test]
    fn an_end_that_is_missing_is_odd() {
        let routine = follow_bytes(&[0x90; 0x40]);
        assert_eq!(routine.oddities, ["it runs into bytes that are no instruction"]);
    }
}
