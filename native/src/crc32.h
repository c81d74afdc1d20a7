/* CRC-32 as zlib computes it (polynomial 0xEDB88320), so that any reader can check an event. */
#ifndef PERIMORTEM_CRC32_H
#define PERIMORTEM_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Fill the tables; called once before the first pmr_crc32. */
void pmr_crc32_prepare(void);

/* Continue `crc` (0 to begin) over `size` bytes. */
uint32_t pmr_crc32(uint32_t crc, const void *data, size_t size);

#endif
