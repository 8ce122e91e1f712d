#include "wal-service/run_codec.h"

#include "wal-service/store/frame.h"

enum {
    TAG_RUN = 0x0A,
    TAG_BRANCH = 0x0A,
    TAG_COLLECTION = 0x12,
    TAG_ACTOR = 0x1A,
    TAG_ENTRY = 0x22,
    TAG_FIRST_LSN = 0x29,
    TAG_TIMESTAMP = 0x31,
    TAG_OPERATION = 0x08,
    TAG_DOCUMENT_ID = 0x12,
    TAG_DOCUMENT = 0x1A,
};

/* ---- writing ------------------------------------------------------------------------------------- */

static size_t varint_size(uint64_t value)
{
    size_t n = 1;
    while (value >>= 7)
        n++;
    return n;
}

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

static size_t field_size(size_t len)
{
    return 1 + varint_size(len) + len;
}

static size_t optional_field_size(size_t len)
{
    return len ? field_size(len) : 0;
}

static uint8_t *put_field(uint8_t *at, uint8_t tag, struct bytes value)
{
    *at++ = tag;
    at = put_varint(at, value.len);
    if (value.len)
        memcpy(at, value.data, value.len);
    return at + value.len;
}

static uint8_t *put_optional_field(uint8_t *at, uint8_t tag, struct bytes value)
{
    return value.len ? put_field(at, tag, value) : at;
}

static size_t entry_body_size(const struct run_entry *entry)
{
    return 1 + varint_size(entry->operation) + field_size(entry->document_id.len) + optional_field_size(entry->document.len);
}

static size_t run_body_size(const struct run_header *header, size_t entries_size)
{
    return field_size(header->branch_id.len) + field_size(header->collection.len) + optional_field_size(header->actor.len) + entries_size +
           RUN_STAMP_BYTES;
}

size_t run_entry_size(const struct run_entry *entry)
{
    return field_size(entry_body_size(entry));
}

size_t run_encoded_size(const struct run_header *header, size_t entries_size)
{
    return field_size(run_body_size(header, entries_size));
}

uint8_t *run_begin(uint8_t *at, const struct run_header *header, size_t entries_size)
{
    *at++ = TAG_RUN;
    at = put_varint(at, run_body_size(header, entries_size));
    at = put_field(at, TAG_BRANCH, header->branch_id);
    at = put_field(at, TAG_COLLECTION, header->collection);
    return put_optional_field(at, TAG_ACTOR, header->actor);
}

uint8_t *run_put_entry(uint8_t *at, const struct run_entry *entry)
{
    *at++ = TAG_ENTRY;
    at = put_varint(at, entry_body_size(entry));
    *at++ = TAG_OPERATION;
    at = put_varint(at, entry->operation);
    at = put_field(at, TAG_DOCUMENT_ID, entry->document_id);
    return put_optional_field(at, TAG_DOCUMENT, entry->document);
}

uint8_t *run_end(uint8_t *at)
{
    *at = TAG_FIRST_LSN;
    put_u64(at + 1, 0);
    *(at + 9) = TAG_TIMESTAMP;
    put_u64(at + 10, 0);
    return at + RUN_STAMP_BYTES;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static bool malformed(struct error *err)
{
    return error_set(err, ERROR_DATA_LOSS, "a run in the log is malformed");
}

static bool take_varint(struct bytes *in, uint64_t *value)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (!in->len)
            return false;
        uint8_t byte = *in->data;
        in->data++, in->len--;
        v |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            *value = v;
            return true;
        }
    }
    return false;
}

static bool take_field(struct bytes *in, uint8_t tag, struct bytes *value)
{
    uint64_t len;
    if (!in->len || *in->data != tag)
        return false;
    in->data++, in->len--;
    if (!take_varint(in, &len) || len > in->len)
        return false;
    *value = bytes_of(in->data, (size_t)len);
    in->data += len, in->len -= (size_t)len;
    return true;
}

static bool take_optional_field(struct bytes *in, uint8_t tag, struct bytes *value)
{
    *value = (struct bytes) { 0 };
    return !in->len || *in->data != tag || take_field(in, tag, value);
}

bool run_reader_init(struct run_reader *reader, struct bytes encoded, struct error *err)
{
    struct run_reader r = { 0 };
    struct bytes body;
    if (!take_field(&encoded, TAG_RUN, &body) || encoded.len || body.len < RUN_STAMP_BYTES)
        return malformed(err);
    const uint8_t *stamp = body.data + body.len - RUN_STAMP_BYTES;
    body.len -= RUN_STAMP_BYTES;
    if (stamp[0] != TAG_FIRST_LSN || stamp[9] != TAG_TIMESTAMP || !take_field(&body, TAG_BRANCH, &r.header.branch_id) ||
        !take_field(&body, TAG_COLLECTION, &r.header.collection) || !take_optional_field(&body, TAG_ACTOR, &r.header.actor))
        return malformed(err);
    r.first_lsn = get_u64(stamp + 1);
    r.timestamp = get_u64(stamp + 10);
    r.rest = body;
    *reader = r;
    return true;
}

bool run_reader_next(struct run_reader *reader, struct run_entry *entry, struct error *err)
{
    struct run_entry e = { 0 };
    struct bytes rest = reader->rest, body;
    uint64_t operation;
    if (!take_field(&rest, TAG_ENTRY, &body) || !body.len || *body.data != TAG_OPERATION)
        return malformed(err);
    body.data++, body.len--;
    if (!take_varint(&body, &operation) || operation > 3 || !take_field(&body, TAG_DOCUMENT_ID, &e.document_id) ||
        !take_optional_field(&body, TAG_DOCUMENT, &e.document) || body.len)
        return malformed(err);
    e.operation = (uint32_t)operation;
    reader->rest = rest;
    *entry = e;
    return true;
}
