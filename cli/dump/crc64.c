#include "cli/dump/crc64.h"

#include <pthread.h>

#define POLYNOMIAL UINT64_C(0xC96C5795D7870F42)

/* table[k][b]: what byte b does when k more bytes follow it */
static uint64_t table[8][256];

static void fill_table(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        table[0][byte] = crc;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned byte = 0; byte < 256; byte++)
            table[k][byte] = table[0][table[k - 1][byte] & 0xff] ^ table[k - 1][byte] >> 8;
}

uint64_t crc64(uint64_t crc, struct bytes bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_table);
    const uint8_t *at = bytes.data, *end = at + bytes.len;
    crc = ~crc;
    for (; end - at >= 8; at += 8) {
        crc ^= get_u64(at);
        uint64_t next = 0;
        for (int i = 0; i < 8; i++)
            next ^= table[7 - i][crc >> 8 * i & 0xff];
        crc = next;
    }
    for (; at < end; at++)
        crc = table[0][(crc ^ *at) & 0xff] ^ crc >> 8;
    return ~crc;
}
