#include "wal-service/store/segment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/base/memory.h"
#include "wal-service/store/group.h"

static const char SEGMENT_MAGIC[8] = { 'A', 'R', 'G', 'O', 'N', 'S', 'E', 'G' };
enum {
    SEGMENT_VERSION = 1,
    CHECKSUM_AT = SEGMENT_HEADER_BYTES - 4,
    ZEROS_A_WRITE = 1 << 20,
    /* synced every so often, so that a commit beside it waits for a few megabytes, not for a whole segment */
    WRITES_A_SYNC = 8,
};

static void format_name(uint64_t id, const char *suffix, char name[SEGMENT_NAME_SIZE])
{
    snprintf(name, SEGMENT_NAME_SIZE, "segment-%016llx.%s", (unsigned long long)id, suffix);
}

static bool parse_name(const char *name, const char *suffix, uint64_t *id)
{
    unsigned long long parsed;
    char again[SEGMENT_NAME_SIZE];
    if (sscanf(name, "segment-%16llx.", &parsed) != 1)
        return false;
    format_name(parsed, suffix, again);
    if (strcmp(name, again) != 0)
        return false;
    *id = parsed;
    return true;
}

void segment_name_format(uint64_t id, char name[SEGMENT_NAME_SIZE])
{
    format_name(id, "log", name);
}

void segment_footer_name_format(uint64_t id, char name[SEGMENT_NAME_SIZE])
{
    format_name(id, "index", name);
}

void segment_packed_name_format(uint64_t id, char name[SEGMENT_NAME_SIZE])
{
    format_name(id, "zst", name);
}

void segment_temporary_name(uint64_t number, char name[SEGMENT_NAME_SIZE])
{
    /* as many digits as the buffer holds; what came before is long published or removed */
    snprintf(name, SEGMENT_NAME_SIZE, TEMPORARY_PREFIX "%x" TEMPORARY_SUFFIX, (unsigned)number);
}

bool segment_name_parse(const char *name, uint64_t *id)
{
    return parse_name(name, "log", id);
}

bool segment_packed_name_parse(const char *name, uint64_t *id)
{
    return parse_name(name, "zst", id);
}

void segment_header_encode(const struct segment_header *header, uint8_t block[SEGMENT_HEADER_BYTES])
{
    memset(block, 0, SEGMENT_HEADER_BYTES);
    memcpy(block, SEGMENT_MAGIC, sizeof SEGMENT_MAGIC);
    put_u32(block + 8, SEGMENT_VERSION);
    put_u32(block + 12, header->carried ? 1 : 0);
    put_u64(block + 16, header->id);
    put_u64(block + 24, header->length);
    put_u64(block + 32, header->salt);
    memcpy(block + 40, header->incarnation, INCARNATION_BYTES);
    put_u64(block + 56, header->first_sequence);
    put_u64(block + 64, header->predecessor);
    put_u64(block + 72, header->predecessor_end);
    put_u32(block + 80, header->predecessor_checksum);
    put_u32(block + CHECKSUM_AT, crc32c(0, block, CHECKSUM_AT));
}

bool segment_header_decode(const uint8_t block[SEGMENT_HEADER_BYTES], struct segment_header *header, struct error *err)
{
    if (memcmp(block, SEGMENT_MAGIC, sizeof SEGMENT_MAGIC) != 0)
        return error_set(err, ERROR_DATA_LOSS, "byte 0: not the header of a segment");
    if (crc32c(0, block, CHECKSUM_AT) != get_u32(block + CHECKSUM_AT))
        return error_set(err, ERROR_DATA_LOSS, "byte 0: the header's checksum does not match");
    if (get_u32(block + 8) != SEGMENT_VERSION)
        return error_set(err, ERROR_FAILED_PRECONDITION, "format version %u; this program reads version %d", get_u32(block + 8),
                         SEGMENT_VERSION);
    *header = (struct segment_header) {
        .carried = get_u32(block + 12) != 0,
        .id = get_u64(block + 16),
        .length = get_u64(block + 24),
        .salt = get_u64(block + 32),
        .first_sequence = get_u64(block + 56),
        .predecessor = get_u64(block + 64),
        .predecessor_end = get_u64(block + 72),
        .predecessor_checksum = get_u32(block + 80),
    };
    memcpy(header->incarnation, block + 40, INCARNATION_BYTES);
    return true;
}

uint64_t segment_length_for(uint64_t payload_bytes)
{
    /* the empty group behind it: vouching must never need another segment */
    uint64_t bytes = SEGMENT_HEADER_BYTES + GROUP_HEADER_BYTES + payload_bytes + GROUP_HEADER_BYTES;
    return (bytes + SEGMENT_BLOCK_BYTES - 1) / SEGMENT_BLOCK_BYTES * SEGMENT_BLOCK_BYTES;
}

static int fill_with_zeros(struct disk *disk, int fd, uint64_t length)
{
    /* first ask for the space as a whole: a full disk is then found out without filling it to the brim */
    if (disk->ops->allocate(disk, fd, length) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        return errno;
    uint8_t *zeros = mem_alloc(ZEROS_A_WRITE + SEGMENT_BLOCK_BYTES);
    uint8_t *aligned = zeros + (SEGMENT_BLOCK_BYTES - (uintptr_t)zeros % SEGMENT_BLOCK_BYTES);
    memset(aligned, 0, ZEROS_A_WRITE);
    /* past the page cache where that works: it takes a tenth of the processor's time, and no memory */
    bool direct = length % SEGMENT_BLOCK_BYTES == 0 && disk_set_direct(fd, true);
    int failure = 0;
    unsigned unsynced = 0;
    for (uint64_t at = 0; at < length && !failure; at += ZEROS_A_WRITE) {
        size_t n = length - at < ZEROS_A_WRITE ? (size_t)(length - at) : ZEROS_A_WRITE;
        failure = disk_write_all(disk, fd, aligned, n, at);
        if (failure == EINVAL && direct) {
            direct = false;
            failure = disk_set_direct(fd, false) ? disk_write_all(disk, fd, aligned, n, at) : EINVAL;
        }
        if (!failure && !direct && ++unsynced == WRITES_A_SYNC) {
            unsynced = 0;
            failure = disk->ops->sync_data(disk, fd) == 0 ? 0 : errno;
        }
    }
    free(zeros);
    if (direct && !disk_set_direct(fd, false) && !failure)
        failure = EINVAL;
    if (!failure && disk->ops->sync(disk, fd) != 0)
        failure = errno;
    return failure;
}

int segment_file_prepare(struct disk *disk, int directory, const char *name, uint64_t length, int *fd)
{
    int file = disk->ops->open(disk, directory, name, O_RDWR | O_CREAT | O_TRUNC);
    if (file < 0)
        return errno;
    int failure = fill_with_zeros(disk, file, length);
    if (failure) {
        close(file);
        disk->ops->unlink(disk, directory, name);
        return failure;
    }
    *fd = file;
    return 0;
}

int segment_file_publish(struct disk *disk, int directory, int fd, const char *name, const struct segment_header *header,
                         struct bytes first_group, bool *visible)
{
    uint8_t block[SEGMENT_HEADER_BYTES];
    char final_name[SEGMENT_NAME_SIZE];
    *visible = false;
    segment_header_encode(header, block);
    segment_name_format(header->id, final_name);
    int failure = disk_write_all(disk, fd, block, sizeof block, 0);
    if (!failure)
        failure = disk_write_all(disk, fd, first_group.data, first_group.len, SEGMENT_HEADER_BYTES);
    if (failure)
        return failure;
    if (disk->ops->sync(disk, fd) != 0)
        return errno;
    if (disk->ops->rename(disk, directory, name, final_name) != 0)
        return errno;
    *visible = true;
    /* the directory too: a renamed segment is otherwise lost at a power cut, with the groups in it */
    return disk->ops->sync(disk, directory) == 0 ? 0 : errno;
}

uint64_t segment_file_trim_tail(struct disk *disk, int fd, uint64_t end, uint64_t length)
{
    uint64_t keep = (end + SEGMENT_BLOCK_BYTES - 1) / SEGMENT_BLOCK_BYTES * SEGMENT_BLOCK_BYTES;
    if (keep >= length || disk->ops->punch(disk, fd, keep, length - keep) != 0)
        return length;
    return keep;
}
