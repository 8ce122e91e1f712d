#include "cli/dump/file_name.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static const char cut_mark[] = "%24";

enum { CUT_AT = 208, HASH_LEN = 27 };

static bool stands_for_itself(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.~$&+=:@", c));
}

char *file_name_of_collection(const char *name, struct arena *arena)
{
    size_t room = 3 * strlen(name) + MAX_FILE_STEM + 1, len = 0, cut = 0;
    char *stem = arena_alloc(arena, room);
    if (!stem)
        return NULL;
    for (const char *at = name; *at; at++) {
        if (stands_for_itself((unsigned char)*at))
            stem[len++] = *at;
        else
            len += (size_t)snprintf(stem + len, 4, "%%%02X", (unsigned char)*at);
        if (len <= CUT_AT)
            cut = len;
    }
    stem[len] = '\0';
    if (len > MAX_FILE_STEM) {
        XXH128_hash_t hash = XXH3_128bits(name, strlen(name));
        char digits[40];
        snprintf(digits, sizeof digits, "%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
        snprintf(stem + cut, room - cut, "%s%.*s", cut_mark, HASH_LEN, digits);
    }
    return stem;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

char *file_name_to_collection(const char *stem, size_t len, struct arena *arena, bool *is_cut)
{
    char *name = arena_strndup(arena, stem, len);
    if (!name)
        return NULL;
    *is_cut = strstr(name, cut_mark) != NULL;
    char *to = name;
    for (size_t i = 0; i < len; i++) {
        int high = stem[i] == '%' && i + 2 < len ? hex_digit(stem[i + 1]) : -1, low = high >= 0 ? hex_digit(stem[i + 2]) : -1;
        bool encoded = low >= 0 && 16 * high + low > 0;
        *to++ = encoded ? (char)(16 * high + low) : stem[i];
        i += encoded ? 2 : 0;
    }
    *to = '\0';
    return name;
}
