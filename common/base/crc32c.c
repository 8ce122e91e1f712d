#include "common/base/crc32c.h"

#include <pthread.h>
#include <string.h>

static uint32_t table[8][256];
static uint32_t (*implementation)(uint32_t crc, const uint8_t *data, size_t len);
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Eight bytes a step: M. Kounavis and F. Berry, "A systematic approach to building high performance
 * software-based CRC generators", 2005. */
static uint32_t crc_table(uint32_t crc, const uint8_t *data, size_t len)
{
    for (; len >= 8; data += 8, len -= 8) {
        uint32_t low = crc ^ ((uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24);
        crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^ table[3][data[4]] ^
              table[2][data[5]] ^ table[1][data[6]] ^ table[0][data[7]];
    }
    while (len--)
        crc = table[0][(crc ^ *data++) & 0xff] ^ crc >> 8;
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_hardware(uint32_t crc, const uint8_t *data, size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    while (len--)
        crc = __builtin_ia32_crc32qi(crc, *data++);
    return crc;
}
#endif

static void prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
        table[0][i] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t i = 0; i < 256; i++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
    implementation = crc_table;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        implementation = crc_hardware;
#endif
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    pthread_once(&once, prepare);
    return ~implementation(~crc, data, len);
}
