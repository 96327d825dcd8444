/*
 * BufferOverflowFastFailK.lib: the checks behind MSVC's /GS, which wdk-sys asks for and Rust code never
 * calls. The library only has to be there.
 */
typedef int kit_nothing_to_check;
