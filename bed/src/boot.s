# The way from power-on to 64-bit Rust code, for the first processor (PVH) and for the others (SIPI).
# AT&T syntax. Nothing here may need a relocation that is wider than 32 bits.

.section .note.pvh, "a", @note
.balign 4
    .long 4                     # name: "Xen\0"
    .long 8                     # description: the entry's physical address
    .long 18                    # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_entry

.section .bss.boot, "aw", @nobits
.balign 4096
.global boot_pml4
boot_pml4:      .skip 4096
boot_pdpt:      .skip 4096
.global boot_directories
boot_directories: .skip 4 * 4096
.global boot_stack
boot_stack:     .skip 64 * 1024
boot_stack_top:

.section .rodata.boot, "a", @progbits
.balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff    # 64-bit code
    .quad 0x00cf93000000ffff    # data
    .quad 0x00cf9b000000ffff    # 32-bit code
boot_gdt_end:
.global boot_gdt_pointer
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

.section .text.boot, "ax", @progbits
.code32
.global pvh_entry
pvh_entry:
    cli
    cld
    movl $boot_stack_top, %esp
    movl %ebx, %ebp             # the start info, kept over the table building

    # One PML4 entry, four PDPT entries, 2048 pages of 2 MiB: the first 4 GiB, identity.
    movl $boot_pdpt, %eax
    orl $3, %eax
    movl %eax, boot_pml4
    movl $boot_directories, %eax
    orl $3, %eax
    movl $boot_pdpt, %edi
    movl $4, %ecx
1:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 1b
    movl $0x83, %eax            # present, writable, 2 MiB
    movl $boot_directories, %edi
    movl $2048, %ecx
2:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 2b

    call enter_long_mode
    lgdt boot_gdt_pointer
    ljmp $8, $start64

# Paging, NX and SSE on; leaves the processor in compatibility mode.
enter_long_mode:
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x620, %eax            # PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x900, %eax            # LME, NXE
    wrmsr
    movl %cr0, %eax
    andl $0xfffffff3, %eax      # EM, TS off
    orl $0x80010002, %eax       # PG, WP, MP
    movl %eax, %cr0
    ret

.code64
start64:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movl %ebp, %edi
    xorl %ebp, %ebp
    call first_processor
3:  hlt
    jmp 3b

# What is copied below 1 MiB for the other processors. It runs there, so it reaches its own data
# relative to the segment that the start-up IPI set, and the rest by absolute addresses.
.global trampoline_start
.global trampoline_end
.global trampoline_stack
.global trampoline_number
.code16
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl trampoline_gdt_pointer - trampoline_start
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $24, $trampoline32
.balign 8
trampoline_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt
trampoline_end:

.code32
trampoline32:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl trampoline_stack, %esp
    call enter_long_mode
    ljmp $8, $trampoline64

.code64
trampoline64:
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movl trampoline_number, %edi
    movq trampoline_stack, %rsp
    xorl %ebp, %ebp
    call other_processor
4:  hlt
    jmp 4b

.section .data.boot, "aw", @progbits
.balign 8
trampoline_stack:  .quad 0
trampoline_number: .quad 0
