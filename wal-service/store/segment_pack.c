#include "wal-service/store/segment_pack.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "common/base/crc32c.h"
#include "common/base/memory.h"
#include "wal-service/store/segment_file.h"

static const char PACK_MAGIC[8] = { 'A', 'R', 'G', 'O', 'N', 'Z', 'S', 'T' };
enum {
    PACK_VERSION = 1,
    PACK_HEADER_BYTES = 64,
    PACK_CHECKSUM_AT = 60,
    ENTRY_BYTES = 16,
    LEVEL = 3,
    BLOCKS_A_SYNC = 32, /* so that a commit beside it waits for a few megabytes */
};

static bool damaged(uint64_t id, uint64_t offset, const char *what, struct error *err)
{
    char name[SEGMENT_NAME_SIZE];
    segment_packed_name_format(id, name);
    return error_set(err, ERROR_DATA_LOSS, "%s, byte %llu: %s", name, (unsigned long long)offset, what);
}

static bool read_at(struct disk *disk, int fd, uint64_t id, void *data, size_t len, uint64_t offset, struct error *err)
{
    size_t got = 0;
    int failure = disk_read_all(disk, fd, data, len, offset, &got);
    if (failure) {
        char name[SEGMENT_NAME_SIZE];
        segment_packed_name_format(id, name);
        return error_set_errno(err, ERROR_UNAVAILABLE, failure, "cannot read %s at byte %llu", name, (unsigned long long)offset);
    }
    return got == len || damaged(id, offset + got, "the file ends here", err);
}

static const uint8_t *entry_of(const struct segment_pack *pack, uint32_t block)
{
    return pack->table + (size_t)block * ENTRY_BYTES;
}

uint64_t segment_pack_block_at(const struct segment_pack *pack, uint32_t block)
{
    return get_u64(entry_of(pack, block));
}

static size_t content_of_block(const struct segment_pack *pack, uint32_t block)
{
    uint64_t left = pack->content - (uint64_t)block * PACK_BLOCK_BYTES;
    return left < PACK_BLOCK_BYTES ? (size_t)left : PACK_BLOCK_BYTES;
}

static uint32_t blocks_of(uint64_t content)
{
    return (uint32_t)((content + PACK_BLOCK_BYTES - 1) / PACK_BLOCK_BYTES);
}

/* ---- reading -------------------------------------------------------------------------------------- */

static bool check_header(struct segment_pack *pack, const uint8_t header[PACK_HEADER_BYTES], uint64_t id, struct error *err)
{
    if (memcmp(header, PACK_MAGIC, sizeof PACK_MAGIC) != 0)
        return damaged(id, 0, "not a compressed segment", err);
    pack->id = id;
    pack->content = get_u64(header + 24);
    pack->bytes = get_u64(header + 32);
    pack->n_blocks = get_u32(header + 40);
    if (pack->content == 0 || pack->content > UINT32_MAX || pack->n_blocks != blocks_of(pack->content))
        return damaged(id, 24, "the header has an impossible length", err);
    return true;
}

static bool check_table(const struct segment_pack *pack, const uint8_t header[PACK_HEADER_BYTES], struct error *err)
{
    size_t table_bytes = (size_t)pack->n_blocks * ENTRY_BYTES;
    if (crc32c(crc32c(0, header, PACK_CHECKSUM_AT), pack->table, table_bytes) != get_u32(header + PACK_CHECKSUM_AT))
        return damaged(pack->id, 0, "the checksum of header and table does not match", err);
    if (get_u32(header + 8) != PACK_VERSION || get_u32(header + 12) != PACK_BLOCK_BYTES)
        return error_set(err, ERROR_FAILED_PRECONDITION, "segment %llu is compressed in format version %u; this program reads version %d",
                         (unsigned long long)pack->id, get_u32(header + 8), PACK_VERSION);
    if (get_u64(header + 16) != pack->id)
        return damaged(pack->id, 16, "the header is another segment's", err);
    uint64_t at = PACK_HEADER_BYTES + table_bytes;
    for (uint32_t i = 0; i < pack->n_blocks; i++) {
        if (segment_pack_block_at(pack, i) != at || get_u32(entry_of(pack, i) + 8) > ZSTD_compressBound(PACK_BLOCK_BYTES))
            return damaged(pack->id, PACK_HEADER_BYTES + (uint64_t)i * ENTRY_BYTES, "a block where none can be", err);
        at += get_u32(entry_of(pack, i) + 8);
    }
    return at == pack->bytes || damaged(pack->id, 32, "the file does not have the length that it says", err);
}

bool segment_pack_open(struct segment_pack *out, struct disk *disk, int fd, uint64_t id, struct error *err)
{
    struct segment_pack pack = { 0 };
    uint8_t header[PACK_HEADER_BYTES];
    if (!read_at(disk, fd, id, header, sizeof header, 0, err) || !check_header(&pack, header, id, err))
        return false;
    size_t table_bytes = (size_t)pack.n_blocks * ENTRY_BYTES;
    pack.table = mem_try_alloc(table_bytes);
    pack.context = ZSTD_createDCtx();
    if (!pack.table || !pack.context) {
        segment_pack_destroy(&pack);
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory to read a compressed segment");
    }
    if (!read_at(disk, fd, id, pack.table, table_bytes, PACK_HEADER_BYTES, err) || !check_table(&pack, header, err)) {
        segment_pack_destroy(&pack);
        return false;
    }
    *out = pack;
    return true;
}

void segment_pack_destroy(struct segment_pack *pack)
{
    free(pack->table);
    free(pack->packed);
    ZSTD_freeDCtx(pack->context);
    *pack = (struct segment_pack) { 0 };
}

static bool reserve(struct segment_pack *pack, size_t bytes, struct error *err)
{
    if (bytes <= pack->capacity)
        return true;
    uint8_t *larger = mem_try_alloc(bytes);
    if (!larger)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for %zu bytes of a compressed segment", bytes);
    free(pack->packed);
    pack->packed = larger;
    pack->capacity = bytes;
    return true;
}

bool segment_pack_read(struct segment_pack *pack, struct disk *disk, int fd, uint32_t first, uint32_t n, uint8_t *out, struct error *err)
{
    uint64_t start = segment_pack_block_at(pack, first);
    const uint8_t *last = entry_of(pack, first + n - 1);
    size_t bytes = (size_t)(get_u64(last) + get_u32(last + 8) - start);
    if (!reserve(pack, bytes, err) || !read_at(disk, fd, pack->id, pack->packed, bytes, start, err))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *entry = entry_of(pack, first + i);
        const uint8_t *packed = pack->packed + (get_u64(entry) - start);
        size_t len = get_u32(entry + 8), content = content_of_block(pack, first + i);
        if (crc32c(0, packed, len) != get_u32(entry + 12))
            return damaged(pack->id, get_u64(entry), "a block's checksum does not match", err);
        if (ZSTD_decompressDCtx(pack->context, out + (size_t)i * PACK_BLOCK_BYTES, content, packed, len) != content)
            return damaged(pack->id, get_u64(entry), "a block does not unpack", err);
    }
    return true;
}

/* ---- writing -------------------------------------------------------------------------------------- */

struct packing {
    struct disk *disk;
    int from, to;
    struct segment_pack pack;
    uint32_t *checksums; /* of what each block unpacks to */
    uint8_t *plain;
    ZSTD_CCtx *context;
    pack_keep_going_fn *keep_going;
    void *ctx;
};

static bool write_at(struct packing *packing, const void *data, size_t len, uint64_t offset, struct error *err)
{
    int failure = disk_write_all(packing->disk, packing->to, data, len, offset);
    if (failure)
        error_set_errno(err, disk_is_full(failure) ? ERROR_RESOURCE_EXHAUSTED : ERROR_UNAVAILABLE, failure,
                        "cannot write the compressed segment %llu", (unsigned long long)packing->pack.id);
    return failure == 0;
}

static bool pack_block(struct packing *packing, uint32_t block, struct error *err)
{
    struct segment_pack *pack = &packing->pack;
    size_t content = content_of_block(pack, block), got = 0;
    int failure = disk_read_all(packing->disk, packing->from, packing->plain, content, (uint64_t)block * PACK_BLOCK_BYTES, &got);
    if (failure)
        return error_set_errno(err, ERROR_UNAVAILABLE, failure, "cannot read segment %llu to compress it", (unsigned long long)pack->id);
    if (got < content)
        return error_set(err, ERROR_DATA_LOSS, "segment %llu ends before its end", (unsigned long long)pack->id);
    packing->checksums[block] = crc32c(0, packing->plain, content);
    size_t len = ZSTD_compressCCtx(packing->context, pack->packed, pack->capacity, packing->plain, content, LEVEL);
    if (ZSTD_isError(len))
        return error_set(err, ERROR_INTERNAL, "cannot compress segment %llu: %s", (unsigned long long)pack->id, ZSTD_getErrorName(len));
    uint8_t *entry = pack->table + (size_t)block * ENTRY_BYTES;
    put_u64(entry, pack->bytes);
    put_u32(entry + 8, (uint32_t)len);
    put_u32(entry + 12, crc32c(0, pack->packed, len));
    if (!write_at(packing, pack->packed, len, pack->bytes, err))
        return false;
    pack->bytes += len;
    return true;
}

static bool sync_to(struct packing *packing, struct error *err)
{
    if (packing->disk->ops->sync(packing->disk, packing->to) == 0)
        return true;
    return error_set_errno(err, disk_is_full(errno) ? ERROR_RESOURCE_EXHAUSTED : ERROR_UNAVAILABLE, errno,
                           "cannot sync the compressed segment %llu", (unsigned long long)packing->pack.id);
}

static bool write_header(struct packing *packing, struct error *err)
{
    const struct segment_pack *pack = &packing->pack;
    size_t table_bytes = (size_t)pack->n_blocks * ENTRY_BYTES;
    uint8_t header[PACK_HEADER_BYTES] = { 0 };
    memcpy(header, PACK_MAGIC, sizeof PACK_MAGIC);
    put_u32(header + 8, PACK_VERSION);
    put_u32(header + 12, PACK_BLOCK_BYTES);
    put_u64(header + 16, pack->id);
    put_u64(header + 24, pack->content);
    put_u64(header + 32, pack->bytes);
    put_u32(header + 40, pack->n_blocks);
    put_u32(header + PACK_CHECKSUM_AT, crc32c(crc32c(0, header, PACK_CHECKSUM_AT), pack->table, table_bytes));
    return write_at(packing, header, sizeof header, 0, err) && write_at(packing, pack->table, table_bytes, PACK_HEADER_BYTES, err);
}

/* Is what was written what was meant? */
static bool compare(struct packing *packing, bool *stopped, struct error *err)
{
    struct segment_pack written;
    if (!segment_pack_open(&written, packing->disk, packing->to, packing->pack.id, err))
        return false;
    bool ok = written.content == packing->pack.content || damaged(written.id, 24, "not what was to be written", err);
    for (uint32_t i = 0; i < written.n_blocks && ok && !*stopped; i++) {
        ok = segment_pack_read(&written, packing->disk, packing->to, i, 1, packing->plain, err);
        if (ok && crc32c(0, packing->plain, content_of_block(&written, i)) != packing->checksums[i])
            ok = damaged(written.id, segment_pack_block_at(&written, i), "not what was to be written", err);
        *stopped = !packing->keep_going(packing->ctx);
    }
    segment_pack_destroy(&written);
    return ok;
}

static bool pack_all(struct packing *packing, struct error *err)
{
    struct segment_pack *pack = &packing->pack;
    pack->bytes = PACK_HEADER_BYTES + (uint64_t)pack->n_blocks * ENTRY_BYTES;
    for (uint32_t i = 0; i < pack->n_blocks; i++) {
        if (!packing->keep_going(packing->ctx) || !pack_block(packing, i, err))
            return false;
        if (i % BLOCKS_A_SYNC == BLOCKS_A_SYNC - 1 && !sync_to(packing, err))
            return false;
    }
    bool stopped = false;
    return write_header(packing, err) && sync_to(packing, err) && compare(packing, &stopped, err) && !stopped;
}

bool segment_pack_write(struct disk *disk, int from, int to, uint64_t id, uint64_t content, pack_keep_going_fn *keep_going, void *ctx,
                        uint64_t *bytes, struct error *err)
{
    struct packing packing = { .disk = disk, .from = from, .to = to, .keep_going = keep_going, .ctx = ctx };
    struct segment_pack *pack = &packing.pack;
    bool ok = false;
    *pack = (struct segment_pack) { .id = id, .content = content, .n_blocks = blocks_of(content) };
    pack->capacity = ZSTD_compressBound(PACK_BLOCK_BYTES);
    pack->packed = mem_try_alloc(pack->capacity);
    pack->table = mem_try_alloc((size_t)pack->n_blocks * ENTRY_BYTES);
    packing.plain = mem_try_alloc(PACK_BLOCK_BYTES);
    packing.checksums = mem_try_alloc((size_t)pack->n_blocks * sizeof packing.checksums[0]);
    packing.context = ZSTD_createCCtx();
    if (!pack->packed || !pack->table || !packing.plain || !packing.checksums || !packing.context)
        error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory to compress a segment");
    else
        ok = pack_all(&packing, err);
    if (ok)
        *bytes = pack->bytes;
    segment_pack_destroy(pack);
    free(packing.plain);
    free(packing.checksums);
    ZSTD_freeCCtx(packing.context);
    return ok;
}
