/* CRC32C (Castagnoli, reflected polynomial 0x82F63B78), as in RFC 3720 appendix B.4.
 * Uses the SSE 4.2 instruction where the machine has it. */
#ifndef ARGON_BASE_CRC32C_H
#define ARGON_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of all the bytes so far: start with crc = 0, pass the result on to continue. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
