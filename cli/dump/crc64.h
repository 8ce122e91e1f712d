/* CRC-64 (ECMA-182, reflected: polynomial 0xC96C5795D7870F42), as mongodump's archives have it. */
#ifndef ARGON_CLI_DUMP_CRC64_H
#define ARGON_CLI_DUMP_CRC64_H

#include <stdint.h>

#include "common/base/bytes.h"

/* Of all the bytes so far: start with crc = 0, pass the result on to continue. */
uint64_t crc64(uint64_t crc, struct bytes bytes);

#endif
