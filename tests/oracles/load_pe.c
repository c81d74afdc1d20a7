/* Runs the code of a PE image without imports: load_pe FILE. It lies at the address that it asks for. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint32_t word(const unsigned char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

int main(int count, char **arguments)
{
    static unsigned char file[1 << 20];
    FILE *in = count == 2 ? fopen(arguments[1], "rb") : NULL;
    if (in == NULL || fread(file, 1, sizeof file, in) == 0)
        return 2;
    const unsigned char *head = file + word(file + 60), *optional = head + 24;
    int is_64_bit = optional[0] == 0x0b && optional[1] == 2;
    uintptr_t base = word(optional + (is_64_bit ? 24 : 28));
    if (is_64_bit)
        base |= (uintptr_t)((uint64_t)word(optional + 28) << 32);
    unsigned char *image = mmap((void *)base, word(optional + 56), PROT_READ | PROT_WRITE | PROT_EXEC,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (image != (unsigned char *)base)
        return 3;
    const unsigned char *section = optional + (head[20] | head[21] << 8);
    for (int left = head[6]; left > 0; left--, section += 40)
        memcpy(image + word(section + 12), file + word(section + 20), word(section + 16));
    return ((int (*)(void))(image + word(optional + 16)))();
}
