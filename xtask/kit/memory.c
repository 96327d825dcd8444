/*
 * memcpy, memmove, memset and memcmp for drivers built with the kit.
 *
 * Compilers call these four wherever they please, and the precompiled core of the MSVC target expects
 * them from a C runtime that a driver does not have. The WDK's ntoskrnl.lib imports them from the kernel;
 * here they are linked into the driver, so that what a driver imports is what its source calls.
 *
 * The string instructions are fast on every x64 processor of the last ten years, and keep the compiler
 * from recognising a loop as the very function it stands in. On Arm64, where nothing is run, loops do.
 */
typedef __SIZE_TYPE__ size_t;

void *memcpy(void *restrict destination, const void *restrict source, size_t count)
{
#ifdef __x86_64__
    void *to = destination;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(source), "+c"(count) : : "memory");
#else
    char *to = destination;
    const char *from = source;
    while (count-- > 0) {
        *to++ = *from++;
    }
#endif
    return destination;
}

void *memmove(void *destination, const void *source, size_t count)
{
    if ((size_t)destination - (size_t)source >= count) {
        return memcpy(destination, source, count);
    }
    /* The destination overlaps the source from above: from the last byte down. A plain loop, because a
     * string instruction would run with the direction flag set, and an interrupt would find it so. */
    char *to = destination;
    const char *from = source;
    while (count-- > 0) {
        to[count] = from[count];
    }
    return destination;
}

void *memset(void *destination, int value, size_t count)
{
#ifdef __x86_64__
    void *to = destination;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
#else
    char *to = destination;
    while (count-- > 0) {
        *to++ = (char)value;
    }
#endif
    return destination;
}

int memcmp(const void *left, const void *right, size_t count)
{
    const unsigned char *a = left;
    const unsigned char *b = right;
    for (size_t i = 0; i < count; i++) {
        if (a[i] != b[i]) {
            return a[i] - b[i];
        }
    }
    return 0;
}
