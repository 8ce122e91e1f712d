/* What a status says to programs: grpc-status-details-bin, a google.rpc.Status that holds one google.rpc.ErrorInfo.
 *
 *   Status    1: code   2: message   3: Any { 1: type URL   2: ErrorInfo }
 *   ErrorInfo 1: reason 2: domain    3: entries of a map { 1: key 2: value }
 *
 * Trailers have a limit at the receiver (8 KiB in all, by default), so what does not fit is left out, an entry at a
 * time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

#define TRAILER    "grpc-status-details-bin"
#define TYPE_URL   "type.googleapis.com/google.rpc.ErrorInfo"
#define DOMAIN     "argon"
#define CONFLICT   "conflict."
#define MONGO_CODE "mongodb_code"

enum {
    STATUS_CODE = 1,
    STATUS_MESSAGE = 2,
    STATUS_DETAILS = 3,
    ANY_TYPE = 1,
    ANY_VALUE = 2,
    INFO_REASON = 1,
    INFO_DOMAIN = 2,
    INFO_METADATA = 3,
    ENTRY_KEY = 1,
    ENTRY_VALUE = 2,
    MAX_INFO = 2048,
    MAX_STATUS = MAX_INFO + 1024,
    MAX_REASONS = 64, /* distinct ones that this process ever hears of */
};

struct writer {
    uint8_t *at, *end;
};

/* ---- writing ---------------------------------------------------------------------------------------- */

static size_t put_varint(uint8_t *at, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        at[n++] = (uint8_t)(value | 0x80);
    at[n++] = (uint8_t)value;
    return n;
}

/* False, and nothing written, when it does not fit. */
static bool put(struct writer *out, unsigned field, struct bytes content)
{
    uint8_t head[16];
    size_t n = put_varint(head, field << 3 | 2);
    n += put_varint(head + n, content.len);
    if (n + content.len > (size_t)(out->end - out->at))
        return false;
    memcpy(out->at, head, n);
    if (content.len)
        memcpy(out->at + n, content.data, content.len);
    out->at += n + content.len;
    return true;
}

/* Length of the UTF-8 character at p; 0: there is none. Overlong forms and surrogates are none, as in RFC 3629. */
static size_t utf8_character(const unsigned char *p)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) /* a NUL ends it, too */
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

/* A protobuf string is UTF-8, and readers insist; a message that was cut may not be. */
static bool put_string(struct writer *out, unsigned field, const char *text)
{
    char copy[MAX_INFO];
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p && n + 4 < sizeof copy;) {
        size_t len = utf8_character(p);
        if (len)
            memcpy(copy + n, p, len);
        else
            copy[n] = '?';
        n += len ? len : 1;
        p += len ? len : 1;
    }
    return put(out, field, bytes_of(copy, n));
}

static bool put_entry(struct writer *out, const char *key, const char *value)
{
    uint8_t entry[MAX_INFO];
    struct writer inner = { entry, entry + sizeof entry };
    return put_string(&inner, ENTRY_KEY, key) && put_string(&inner, ENTRY_VALUE, value) &&
           put(out, INFO_METADATA, bytes_of(entry, (size_t)(inner.at - entry)));
}

static void put_keys(struct writer *out, const char *keys)
{
    char key[32], value[sizeof((struct error *)0)->keys];
    for (unsigned i = 0; *keys; i++) {
        size_t len = strcspn(keys, "\n");
        snprintf(key, sizeof key, CONFLICT "%u", i);
        snprintf(value, sizeof value, "%.*s", (int)len, keys);
        if (!put_entry(out, key, value))
            return;
        keys += len + (keys[len] == '\n');
    }
}

static void put_mongo_code(struct writer *out, int code)
{
    char text[16];
    snprintf(text, sizeof text, "%d", code);
    if (code)
        put_entry(out, MONGO_CODE, text);
}

grpc_metadata details_encode(enum error_code code, const struct error *err)
{
    uint8_t inner[MAX_INFO], any[MAX_INFO + 128], status[MAX_STATUS];
    struct writer out = { inner, inner + sizeof inner };
    bool ok = put_string(&out, INFO_REASON, err->reason ? err->reason : error_code_name(code)) && put_string(&out, INFO_DOMAIN, DOMAIN);
    put_mongo_code(&out, err->mongo_code);
    put_keys(&out, err->keys);
    struct writer wrapped = { any, any + sizeof any };
    ok = ok && put_string(&wrapped, ANY_TYPE, TYPE_URL) && put(&wrapped, ANY_VALUE, bytes_of(inner, (size_t)(out.at - inner)));
    struct writer whole = { status, status + sizeof status };
    *whole.at++ = STATUS_CODE << 3;
    whole.at += put_varint(whole.at, code);
    ok = ok && put_string(&whole, STATUS_MESSAGE, err->message) && put(&whole, STATUS_DETAILS, bytes_of(any, (size_t)(wrapped.at - any)));
    size_t len = ok ? (size_t)(whole.at - status) : 0; /* a reason of thousands of characters: none is better */
    return (grpc_metadata) { .key = grpc_slice_from_static_string(TRAILER),
                             .value = grpc_slice_from_copied_buffer((const char *)status, len) };
}

/* ---- reading ---------------------------------------------------------------------------------------- */

/* The reason is a static string for whoever holds the error, so each is kept once and for ever. */
static const char *keep_reason(struct bytes reason)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
    static char *kept[MAX_REASONS];
    const char *found = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < MAX_REASONS && !found; i++) {
        if (!kept[i])
            kept[i] = mem_strndup((const char *)reason.data, reason.len);
        if (strlen(kept[i]) == reason.len && memcmp(kept[i], reason.data, reason.len) == 0)
            found = kept[i];
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* The first field of that number; false if there is none. */
static bool find_field(struct bytes message, uint32_t wanted, struct bytes *content)
{
    uint32_t number;
    while (codec_next_field(&message, &number, content))
        if (number == wanted)
            return true;
    return false;
}

static bool is(struct bytes text, const char *expected)
{
    return text.len == strlen(expected) && memcmp(text.data, expected, text.len) == 0;
}

static int read_number(struct bytes text)
{
    char copy[16];
    snprintf(copy, sizeof copy, "%.*s", (int)(text.len < sizeof copy ? text.len : sizeof copy - 1), (const char *)text.data);
    return atoi(copy);
}

static void read_info(struct bytes info, struct error *err)
{
    struct bytes reason, domain, content, key, value;
    if (!find_field(info, INFO_DOMAIN, &domain) || !is(domain, DOMAIN))
        return;
    if (find_field(info, INFO_REASON, &reason) && reason.len > 0 && reason.len < 64 && !memchr(reason.data, 0, reason.len) &&
        !is(reason, error_code_name(err->code)))
        error_set_reason(err, keep_reason(reason));
    uint32_t number;
    while (codec_next_field(&info, &number, &content)) {
        if (number != INFO_METADATA || !find_field(content, ENTRY_KEY, &key) || !find_field(content, ENTRY_VALUE, &value))
            continue;
        if (key.len > strlen(CONFLICT) && memcmp(key.data, CONFLICT, strlen(CONFLICT)) == 0)
            error_add_key(err, "%.*s", (int)value.len, (const char *)value.data);
        else if (is(key, MONGO_CODE))
            err->mongo_code = read_number(value);
    }
}

void details_read(const grpc_metadata_array *trailers, struct error *err)
{
    const grpc_metadata *found = metadata_find(trailers, TRAILER);
    if (!found || !err)
        return;
    struct bytes status = bytes_of(GRPC_SLICE_START_PTR(found->value), GRPC_SLICE_LENGTH(found->value));
    struct bytes any, type, info;
    if (find_field(status, STATUS_DETAILS, &any) && find_field(any, ANY_TYPE, &type) && is(type, TYPE_URL) &&
        find_field(any, ANY_VALUE, &info))
        read_info(info, err);
}
