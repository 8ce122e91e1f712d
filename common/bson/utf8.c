#include "common/bson/utf8.h"

bool utf8_valid(const void *text, size_t len)
{
    const uint8_t *at = text;
    const uint8_t *end = at + len;
    while (at < end) {
        if (*at < 0x80) {
            /* most text is ASCII: eight bytes at a time */
            while (end - at >= 8 && !(get_u64(at) & 0x8080808080808080u))
                at += 8;
            while (at < end && *at < 0x80)
                at++;
            continue;
        }
        /* the second byte's range is what keeps out overlong forms, surrogates and too large values */
        size_t more;
        uint8_t low = 0x80, high = 0xBF;
        if (*at >= 0xC2 && *at <= 0xDF) {
            more = 1;
        } else if (*at >= 0xE0 && *at <= 0xEF) {
            more = 2;
            if (*at == 0xE0)
                low = 0xA0;
            else if (*at == 0xED)
                high = 0x9F;
        } else if (*at >= 0xF0 && *at <= 0xF4) {
            more = 3;
            if (*at == 0xF0)
                low = 0x90;
            else if (*at == 0xF4)
                high = 0x8F;
        } else {
            return false;
        }
        if ((size_t)(end - at) <= more || at[1] < low || at[1] > high)
            return false;
        for (size_t i = 2; i <= more; i++) {
            if ((at[i] & 0xC0) != 0x80)
                return false;
        }
        at += more + 1;
    }
    return true;
}

size_t utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

int utf8_fit(const char *text, size_t len, size_t max)
{
    if (len <= max)
        return (int)len;
    while (max > 0 && ((uint8_t)text[max] & 0xC0) == 0x80)
        max--;
    return (int)max;
}
