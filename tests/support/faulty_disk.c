#include "tests/support/faulty_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/memory.h"

enum { SECTOR = 512 };

struct unsynced_sector {
    struct unsynced_sector *next;
    ino_t file;
    int fd; /* our own */
    uint64_t offset;
    bool lost;              /* a sync of it failed */
    uint8_t before[SECTOR]; /* zeros behind the end of the file */
};

struct unsynced_rename {
    struct unsynced_rename *next;
    int directory; /* our own */
    char from[64], to[64];
};

static struct faulty_disk *of(struct disk *disk)
{
    return (struct faulty_disk *)disk;
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

/* Is this step to fail? Under lock. */
static bool strikes_locked(struct faulty_disk *disk)
{
    uint64_t step = ++disk->steps;
    if (disk->fault == FAULT_NONE || step < disk->fault_at || (disk->fault == FAULT_EIO && disk->struck))
        return false;
    disk->struck = true;
    errno = EIO;
    return true;
}

static ino_t inode_of(int fd, bool *directory)
{
    struct stat status;
    must(fstat(fd, &status) == 0, "fstat");
    *directory = S_ISDIR(status.st_mode);
    return status.st_ino;
}

static void remember_locked(struct faulty_disk *disk, int fd, uint64_t offset, size_t len)
{
    bool directory;
    ino_t file = inode_of(fd, &directory);
    for (uint64_t at = offset / SECTOR * SECTOR; at < offset + len; at += SECTOR) {
        struct unsynced_sector *sector = disk->sectors;
        while (sector && (sector->file != file || sector->offset != at))
            sector = sector->next;
        if (sector)
            continue;
        sector = mem_zalloc(sizeof *sector);
        sector->file = file;
        sector->fd = dup(fd);
        sector->offset = at;
        ssize_t n = pread(fd, sector->before, SECTOR, (off_t)at);
        must(n >= 0 && sector->fd >= 0, "pread");
        sector->next = disk->sectors;
        disk->sectors = sector;
    }
}

static void synced_locked(struct faulty_disk *disk, int fd, bool success)
{
    bool directory;
    ino_t file = inode_of(fd, &directory);
    for (struct unsynced_sector **link = &disk->sectors; *link;) {
        struct unsynced_sector *sector = *link;
        if (directory || sector->file != file || (success && sector->lost)) {
            link = &sector->next;
        } else if (!success) {
            sector->lost = true;
            link = &sector->next;
        } else {
            *link = sector->next;
            close(sector->fd);
            free(sector);
        }
    }
    while (directory && success && disk->renames) {
        struct unsynced_rename *rename = disk->renames;
        disk->renames = rename->next;
        close(rename->directory);
        free(rename);
    }
}

static int faulty_open(struct disk *base, int directory, const char *name, int flags)
{
    struct faulty_disk *disk = of(base);
    mutex_lock(&disk->lock);
    bool fails = (flags & O_CREAT) && strikes_locked(disk);
    int fd = fails ? -1 : system_disk.ops->open(base, directory, name, flags);
    mutex_unlock(&disk->lock);
    return fd;
}

static ssize_t faulty_read(struct disk *base, int fd, void *data, size_t len, uint64_t offset)
{
    return system_disk.ops->read(base, fd, data, len, offset);
}

static ssize_t faulty_write(struct disk *base, int fd, const void *data, size_t len, uint64_t offset)
{
    struct faulty_disk *disk = of(base);
    mutex_lock(&disk->lock);
    bool fails = strikes_locked(disk);
    if (fails && disk->fault == FAULT_EIO)
        len /= 2;
    ssize_t n = -1;
    /* zeros of a file that has no name yet need no memory of what was there */
    bool fresh = len >= SECTOR && ((const uint8_t *)data)[0] == 0 && memcmp(data, (const uint8_t *)data + 1, len - 1) == 0;
    if (!fails || disk->fault == FAULT_EIO) {
        if (len > 0 && !fresh)
            remember_locked(disk, fd, offset, len);
        n = system_disk.ops->write(base, fd, data, len, offset);
    }
    mutex_unlock(&disk->lock);
    if (fails) {
        errno = EIO;
        return -1;
    }
    return n;
}

static int faulty_allocate(struct disk *base, int fd, uint64_t length)
{
    struct faulty_disk *disk = of(base);
    mutex_lock(&disk->lock);
    int result = strikes_locked(disk) ? -1 : 0;
    if (result == 0 && length > disk->room) {
        errno = ENOSPC;
        result = -1;
    }
    if (result == 0)
        result = system_disk.ops->allocate(base, fd, length);
    mutex_unlock(&disk->lock);
    return result;
}

static int faulty_punch(struct disk *base, int fd, uint64_t offset, uint64_t length)
{
    struct faulty_disk *disk = of(base);
    mutex_lock(&disk->lock);
    int result = strikes_locked(disk) ? -1 : system_disk.ops->punch(base, fd, offset, length);
    mutex_unlock(&disk->lock);
    return result;
}

static int faulty_sync(struct disk *base, int fd)
{
    struct faulty_disk *disk = of(base);
    mutex_lock(&disk->lock);
    bool fails = strikes_locked(disk);
    if (!fails || disk->fault == FAULT_EIO)
        synced_locked(disk, fd, !fails);
    mutex_unlock(&disk->lock);
    if (fails)
        errno = EIO;
    return fails ? -1 : 0;
}

static int faulty_rename(struct disk *base, int directory, const char *from, const char *to)
{
    struct faulty_disk *disk = of(base);
    mutex_lock(&disk->lock);
    int result = strikes_locked(disk) ? -1 : system_disk.ops->rename(base, directory, from, to);
    if (result == 0) {
        struct unsynced_rename *rename = mem_zalloc(sizeof *rename);
        rename->directory = dup(directory);
        snprintf(rename->from, sizeof rename->from, "%s", from);
        snprintf(rename->to, sizeof rename->to, "%s", to);
        rename->next = disk->renames;
        disk->renames = rename;
    }
    mutex_unlock(&disk->lock);
    return result;
}

static int faulty_unlink(struct disk *base, int directory, const char *name)
{
    struct faulty_disk *disk = of(base);
    mutex_lock(&disk->lock);
    int result = strikes_locked(disk) ? -1 : system_disk.ops->unlink(base, directory, name);
    mutex_unlock(&disk->lock);
    return result;
}

static const struct disk_ops faulty_ops = {
    .open = faulty_open,
    .read = faulty_read,
    .write = faulty_write,
    .allocate = faulty_allocate,
    .punch = faulty_punch,
    .sync_data = faulty_sync,
    .sync = faulty_sync,
    .rename = faulty_rename,
    .unlink = faulty_unlink,
};

void faulty_disk_init(struct faulty_disk *disk, enum fault fault, uint64_t fault_at)
{
    *disk = (struct faulty_disk) { .disk = { &faulty_ops }, .fault = fault, .fault_at = fault_at, .room = UINT64_MAX };
    mutex_init(&disk->lock, 90);
}

void faulty_disk_cut_power(struct faulty_disk *disk, unsigned lost, uint64_t seed)
{
    uint64_t x = seed * 2 + 1;
    for (struct unsynced_sector *sector = disk->sectors; sector; sector = sector->next) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        struct stat status;
        must(fstat(sector->fd, &status) == 0, "fstat");
        if ((x >> 33) % 256 >= lost || (uint64_t)status.st_size <= sector->offset)
            continue;
        /* what the file did not have yet reads as zeros: its length may be on the disk without its contents */
        uint64_t left = (uint64_t)status.st_size - sector->offset;
        size_t len = left < SECTOR ? (size_t)left : SECTOR;
        must(pwrite(sector->fd, sector->before, len, (off_t)sector->offset) == (ssize_t)len, "pwrite");
    }
    /* newest first: the entries of a directory reach the disk in order */
    for (struct unsynced_rename *rename = disk->renames; rename; rename = rename->next) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        if ((x >> 33) % 256 >= lost)
            break;
        must(renameat(rename->directory, rename->to, rename->directory, rename->from) == 0, "renameat");
    }
}

void faulty_disk_set_room(struct faulty_disk *disk, uint64_t bytes)
{
    mutex_lock(&disk->lock);
    disk->room = bytes;
    mutex_unlock(&disk->lock);
}

void faulty_disk_destroy(struct faulty_disk *disk)
{
    while (disk->sectors) {
        struct unsynced_sector *sector = disk->sectors;
        disk->sectors = sector->next;
        close(sector->fd);
        free(sector);
    }
    while (disk->renames) {
        struct unsynced_rename *rename = disk->renames;
        disk->renames = rename->next;
        close(rename->directory);
        free(rename);
    }
    mutex_destroy(&disk->lock);
}
