#include "wal-service/store/segment_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/memory.h"

/* "segment-...log, byte N"; of a compressed one the byte is the original's. */
static void format_place(const struct segment_reader *reader, uint64_t offset, char place[96])
{
    char name[SEGMENT_NAME_SIZE];
    (reader->packed ? segment_packed_name_format : segment_name_format)(reader->id, name);
    snprintf(place, 96, "%s, byte %llu%s", name, (unsigned long long)offset, reader->packed ? " of what it unpacks to" : "");
}

bool segment_reader_damaged(const struct segment_reader *reader, uint64_t offset, const char *what, struct error *err)
{
    char place[96];
    format_place(reader, offset, place);
    return error_set(err, ERROR_DATA_LOSS, "%s: %s", place, what);
}

bool segment_reader_wrap(const struct segment_reader *reader, uint64_t offset, struct error *err)
{
    char place[96];
    format_place(reader, offset, place);
    return error_wrap(err, "%s", place);
}

void segment_reader_init(struct segment_reader *reader, struct disk *disk, int directory)
{
    *reader = (struct segment_reader) { .disk = disk, .directory = directory, .fd = -1 };
}

void segment_reader_destroy(struct segment_reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    segment_pack_destroy(&reader->pack);
    free(reader->window);
    *reader = (struct segment_reader) { .fd = -1 };
}

bool segment_reader_open_file(struct segment_reader *reader, uint64_t id, bool packed, struct error *err)
{
    char name[SEGMENT_NAME_SIZE];
    (packed ? segment_packed_name_format : segment_name_format)(id, name);
    int fd = reader->disk->ops->open(reader->disk, reader->directory, name, O_RDONLY);
    if (fd < 0)
        return error_set_errno(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_UNAVAILABLE, errno, "cannot open %s", name);
    struct segment_pack pack = { 0 };
    if (packed && !segment_pack_open(&pack, reader->disk, fd, id, err)) {
        close(fd);
        return false;
    }
    if (reader->fd >= 0)
        close(reader->fd);
    segment_pack_destroy(&reader->pack);
    reader->fd = fd;
    reader->id = id;
    reader->packed = packed;
    reader->pack = pack;
    reader->filled = 0;
    return true;
}

bool segment_reader_open(struct segment_reader *reader, uint64_t id, struct error *err)
{
    if (reader->fd >= 0 && reader->id == id)
        return true;
    /* in this order: the original goes only when the compressed one is there */
    struct error failure = { 0 };
    if (segment_reader_open_file(reader, id, false, &failure) ||
        (failure.code == ERROR_NOT_FOUND && segment_reader_open_file(reader, id, true, &failure)))
        return true;
    if (failure.code == ERROR_NOT_FOUND) {
        char name[SEGMENT_NAME_SIZE];
        segment_name_format(id, name);
        return error_set(err, ERROR_DATA_LOSS, "%s is missing", name);
    }
    if (err)
        *err = failure;
    return false;
}

static bool reserve_window(struct segment_reader *reader, size_t len, struct error *err)
{
    if (len <= reader->capacity)
        return true;
    uint8_t *larger = mem_try_alloc(len);
    if (!larger)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory to read %zu bytes of segment %llu", len, (unsigned long long)reader->id);
    free(reader->window);
    reader->window = larger;
    reader->capacity = len;
    return true;
}

/* Whole blocks around the range. */
static bool unpack_window(struct segment_reader *reader, uint64_t offset, size_t len, struct error *err)
{
    uint64_t content = reader->pack.content;
    reader->start = offset;
    if (offset >= content)
        return true;
    uint64_t end = content - offset < len ? content : offset + len;
    uint32_t first = (uint32_t)(offset / PACK_BLOCK_BYTES), n = (uint32_t)((end - 1) / PACK_BLOCK_BYTES) - first + 1;
    if (!reserve_window(reader, (size_t)n * PACK_BLOCK_BYTES, err) ||
        !segment_pack_read(&reader->pack, reader->disk, reader->fd, first, n, reader->window, err))
        return false;
    reader->start = (uint64_t)first * PACK_BLOCK_BYTES;
    uint64_t left = content - reader->start;
    reader->filled = left < (uint64_t)n * PACK_BLOCK_BYTES ? (size_t)left : (size_t)n * PACK_BLOCK_BYTES;
    return true;
}

static bool fill_window(struct segment_reader *reader, uint64_t offset, size_t len, struct error *err)
{
    reader->filled = 0;
    if (reader->packed)
        return unpack_window(reader, offset, len, err);
    if (!reserve_window(reader, len, err))
        return false;
    size_t got = 0;
    int failure = disk_read_all(reader->disk, reader->fd, reader->window, len, offset, &got);
    if (failure) {
        error_set_errno(err, ERROR_UNAVAILABLE, failure, "cannot read");
        return segment_reader_wrap(reader, offset, err);
    }
    reader->start = offset;
    reader->filled = got;
    return true;
}

bool segment_reader_holds(const struct segment_reader *reader, uint64_t offset, size_t len)
{
    return offset >= reader->start && offset + len <= reader->start + reader->filled;
}

bool segment_reader_at(struct segment_reader *reader, uint64_t offset, size_t len, size_t ahead, const uint8_t **data, struct error *err)
{
    if (!segment_reader_holds(reader, offset, len)) {
        if (!fill_window(reader, offset, len > ahead ? len : ahead, err))
            return false;
        if (!segment_reader_holds(reader, offset, len))
            return segment_reader_damaged(reader, reader->start + reader->filled, "the file ends here", err);
    }
    *data = reader->window + (offset - reader->start);
    return true;
}

bool segment_reader_header(struct segment_reader *reader, struct segment_header *header, struct error *err)
{
    const uint8_t *block, *last;
    struct segment_header found;
    if (!segment_reader_at(reader, 0, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES, &block, err))
        return false;
    if (!segment_header_decode(block, &found, err)) {
        char name[SEGMENT_NAME_SIZE];
        (reader->packed ? segment_packed_name_format : segment_name_format)(reader->id, name);
        return error_wrap(err, "%s", name);
    }
    if (found.id != reader->id)
        return segment_reader_damaged(reader, 16, "the header is another segment's", err);
    if (found.length < segment_length_for(0) || found.length > UINT32_MAX || found.length % SEGMENT_BLOCK_BYTES != 0)
        return segment_reader_damaged(reader, 24, "the header has an impossible length", err);
    if (!reader->packed && !segment_reader_at(reader, found.length - 1, 1, 1, &last, err)) {
        error_wrap(err, "the file is shorter than its header says (%llu bytes)", (unsigned long long)found.length);
        return false;
    }
    *header = found;
    return true;
}
