#include "wal-service/store/segment_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/memory.h"

bool segment_damaged(uint64_t id, uint64_t offset, const char *what, struct error *err)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name_format(id, name);
    return error_set(err, ERROR_DATA_LOSS, "%s, byte %llu: %s", name, (unsigned long long)offset, what);
}

void segment_reader_init(struct segment_reader *reader, struct disk *disk, int directory)
{
    *reader = (struct segment_reader) { .disk = disk, .directory = directory, .fd = -1 };
}

void segment_reader_destroy(struct segment_reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader->window);
    *reader = (struct segment_reader) { .fd = -1 };
}

bool segment_reader_open(struct segment_reader *reader, uint64_t id, struct error *err)
{
    if (reader->fd >= 0 && reader->id == id)
        return true;
    char name[SEGMENT_NAME_SIZE];
    segment_name_format(id, name);
    int fd = reader->disk->ops->open(reader->disk, reader->directory, name, O_RDONLY);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_DATA_LOSS, "%s is missing", name);
    if (fd < 0)
        return error_set_errno(err, ERROR_UNAVAILABLE, errno, "cannot open %s", name);
    if (reader->fd >= 0)
        close(reader->fd);
    reader->fd = fd;
    reader->id = id;
    reader->filled = 0;
    return true;
}

static bool fill_window(struct segment_reader *reader, uint64_t offset, size_t len, struct error *err)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name_format(reader->id, name);
    reader->filled = 0;
    if (len > reader->capacity) {
        uint8_t *larger = mem_try_alloc(len);
        if (!larger)
            return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory to read %zu bytes of %s", len, name);
        free(reader->window);
        reader->window = larger;
        reader->capacity = len;
    }
    size_t got = 0;
    int failure = disk_read_all(reader->disk, reader->fd, reader->window, len, offset, &got);
    if (failure)
        return error_set_errno(err, ERROR_UNAVAILABLE, failure, "cannot read %s at byte %llu", name, (unsigned long long)offset);
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
        if (reader->filled < len)
            return segment_damaged(reader->id, offset + reader->filled, "the file ends here", err);
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
        segment_name_format(reader->id, name);
        return error_wrap(err, "%s", name);
    }
    if (found.id != reader->id)
        return segment_damaged(reader->id, 16, "the header is another segment's", err);
    if (found.length < segment_length_for(0) || found.length > UINT32_MAX || found.length % SEGMENT_BLOCK_BYTES != 0)
        return segment_damaged(reader->id, 24, "the header has an impossible length", err);
    if (!segment_reader_at(reader, found.length - 1, 1, 1, &last, err)) {
        error_wrap(err, "the file is shorter than its header says (%llu bytes)", (unsigned long long)found.length);
        return false;
    }
    *header = found;
    return true;
}
