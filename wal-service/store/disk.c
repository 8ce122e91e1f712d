#include "wal-service/store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int system_open(struct disk *disk, int directory, const char *name, int flags)
{
    (void)disk;
    return openat(directory, name, flags | O_CLOEXEC, 0640);
}

static ssize_t system_read(struct disk *disk, int fd, void *data, size_t len, uint64_t offset)
{
    (void)disk;
    return pread(fd, data, len, (off_t)offset);
}

static ssize_t system_write(struct disk *disk, int fd, const void *data, size_t len, uint64_t offset)
{
    (void)disk;
    return pwrite(fd, data, len, (off_t)offset);
}

static int system_allocate(struct disk *disk, int fd, uint64_t length)
{
    (void)disk;
    return fallocate(fd, 0, 0, (off_t)length);
}

static int system_punch(struct disk *disk, int fd, uint64_t offset, uint64_t length)
{
    (void)disk;
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
}

static int system_sync_data(struct disk *disk, int fd)
{
    (void)disk;
    return fdatasync(fd);
}

static int system_sync(struct disk *disk, int fd)
{
    (void)disk;
    return fsync(fd);
}

static int system_rename(struct disk *disk, int directory, const char *from, const char *to)
{
    (void)disk;
    return renameat(directory, from, directory, to);
}

static int system_unlink(struct disk *disk, int directory, const char *name)
{
    (void)disk;
    return unlinkat(directory, name, 0);
}

static const struct disk_ops system_ops = {
    .open = system_open,
    .read = system_read,
    .write = system_write,
    .allocate = system_allocate,
    .punch = system_punch,
    .sync_data = system_sync_data,
    .sync = system_sync,
    .rename = system_rename,
    .unlink = system_unlink,
};

struct disk system_disk = { &system_ops };

int disk_write_all(struct disk *disk, int fd, const void *data, size_t len, uint64_t offset)
{
    const uint8_t *next = data;
    while (len > 0) {
        ssize_t n = disk->ops->write(disk, fd, next, len, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return EIO; /* no progress and no reason: not a thing to repeat for ever */
        next += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int disk_read_all(struct disk *disk, int fd, void *data, size_t len, uint64_t offset, size_t *got)
{
    uint8_t *next = data;
    size_t left = len;
    while (left > 0) {
        ssize_t n = disk->ops->read(disk, fd, next, left, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            break;
        next += n;
        offset += (uint64_t)n;
        left -= (size_t)n;
    }
    *got = len - left;
    return 0;
}

bool disk_set_direct(int fd, bool direct)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

bool disk_is_full(int errnum)
{
    return errnum == ENOSPC || errnum == EDQUOT;
}

bool disk_failure_passes(int errnum)
{
    return disk_is_full(errnum) || errnum == EMFILE || errnum == ENFILE;
}
