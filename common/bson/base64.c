#include "common/bson/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct bytes data, struct buffer *out)
{
    for (size_t i = 0; i < data.len; i += 3) {
        size_t n = data.len - i < 3 ? data.len - i : 3;
        uint32_t group = (uint32_t)data.data[i] << 16;
        if (n > 1)
            group |= (uint32_t)data.data[i + 1] << 8;
        if (n > 2)
            group |= data.data[i + 2];
        char text[4] = {
            alphabet[group >> 18],
            alphabet[group >> 12 & 63],
            n > 1 ? alphabet[group >> 6 & 63] : '=',
            n > 2 ? alphabet[group & 63] : '=',
        };
        buffer_append(out, text, 4);
    }
}

static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct bytes text, struct buffer *out)
{
    if (text.len % 4 != 0)
        return false;
    for (size_t i = 0; i < text.len; i += 4) {
        const uint8_t *at = text.data + i;
        int padding = 0;
        if (i + 4 == text.len)
            padding = at[3] != '=' ? 0 : at[2] != '=' ? 1 : 2;
        uint32_t group = 0;
        for (int j = 0; j < 4; j++) {
            int value = j < 4 - padding ? value_of(at[j]) : 0;
            if (value < 0)
                return false;
            group = group << 6 | (uint32_t)value;
        }
        /* bits that stand for no byte are zero, so that every text has one meaning and one form */
        if ((padding == 1 && (group & 0xFF)) || (padding == 2 && (group & 0xFFFF)))
            return false;
        uint8_t bytes[3] = { (uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group };
        buffer_append(out, bytes, (size_t)(3 - padding));
    }
    return true;
}
