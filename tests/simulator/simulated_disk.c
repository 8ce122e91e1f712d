#include "tests/simulator/simulated_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/base/memory.h"

enum { SECTOR = 512, NAME = 64 };

enum sector_state { CLEAN, DIRTY, FORGOTTEN /* not on the disk, and nobody knows */ };

struct simulated_file {
    struct simulated_file *next;
    ino_t inode;
    int fd; /* our own, for the page cache */
    char name[NAME];
    char disk_name[NAME]; /* "": none */
    uint8_t *disk_data;
    uint8_t *sectors; /* enum sector_state */
    uint64_t disk_length, length;
};

struct name_change {
    struct name_change *next;
    struct simulated_file *file;
    struct simulated_file *replaced;
    char name[NAME];
};

static struct simulated_disk *of(struct disk *disk)
{
    return (struct simulated_disk *)disk;
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

static void note(struct simulated_disk *disk, const char *what, uint64_t a, uint64_t b)
{
    uint64_t words[4] = { disk->digest, a, b, crc32c(0, what, strlen(what)) };
    for (size_t i = 0; i < 4; i++)
        disk->digest = (disk->digest ^ words[i]) * UINT64_C(0x100000001b3);
}

static struct simulated_file *file_of(struct simulated_disk *disk, int fd)
{
    struct stat status;
    must(fstat(fd, &status) == 0, "fstat");
    if (S_ISDIR(status.st_mode))
        return NULL;
    struct simulated_file *file = disk->files;
    while (file && file->inode != status.st_ino)
        file = file->next;
    must(file != NULL, "a file that was not opened here");
    return file;
}

static struct simulated_file *file_named(struct simulated_disk *disk, const char *name)
{
    struct simulated_file *file = disk->files;
    while (file && strcmp(file->name, name) != 0)
        file = file->next;
    return file;
}

static void grow(struct simulated_file *file, uint64_t length)
{
    if (length <= file->length)
        return;
    uint64_t old = (file->length + SECTOR - 1) / SECTOR, sectors = (length + SECTOR - 1) / SECTOR;
    if (sectors > old) {
        file->sectors = mem_realloc(file->sectors, sectors);
        memset(file->sectors + old, CLEAN, sectors - old);
        file->disk_data = mem_realloc(file->disk_data, sectors * SECTOR);
        memset(file->disk_data + old * SECTOR, 0, (sectors - old) * SECTOR);
    }
    file->length = length;
}

static void flush_sector(struct simulated_file *file, uint64_t sector)
{
    ssize_t n = pread(file->fd, file->disk_data + sector * SECTOR, SECTOR, (off_t)(sector * SECTOR));
    must(n >= 0, "pread");
    file->sectors[sector] = CLEAN;
}

/* Each dirty sector with a chance of n in 8. */
static void flush_some(struct simulated_disk *disk, struct simulated_file *file, unsigned n)
{
    for (uint64_t i = 0; i * SECTOR < file->length; i++)
        if (file->sectors[i] == DIRTY && prng_below(&disk->prng, 8) < n)
            flush_sector(file, i);
    if (n == 8)
        file->disk_length = file->length;
}

static void change_name(struct simulated_disk *disk, struct simulated_file *file, const char *name)
{
    struct name_change *change = mem_zalloc(sizeof *change);
    change->file = file;
    change->replaced = name[0] ? file_named(disk, name) : NULL; /* a rename puts it away at the same moment */
    if (change->replaced)
        change->replaced->name[0] = '\0';
    snprintf(change->name, sizeof change->name, "%s", name);
    snprintf(file->name, sizeof file->name, "%s", name);
    *disk->changes_end = change;
    disk->changes_end = &change->next;
}

static void flush_names(struct simulated_disk *disk, uint64_t n)
{
    for (; n > 0 && disk->changes; n--) {
        struct name_change *change = disk->changes;
        if (change->replaced)
            change->replaced->disk_name[0] = '\0';
        memcpy(change->file->disk_name, change->name, NAME);
        disk->changes = change->next;
        free(change);
    }
    if (!disk->changes)
        disk->changes_end = &disk->changes;
}

enum fate { WORKS, FAILS, DIES };

static enum fate next_step(struct simulated_disk *disk, const char *what, uint64_t a, uint64_t b)
{
    if (disk->dead)
        return FAILS;
    disk->steps++;
    note(disk, what, a, b);
    if (disk->steps == disk->die_at) {
        disk->dead = true;
        return DIES;
    }
    if (disk->owed)
        flush_some(disk, disk->owed, 8);
    disk->owed = NULL;
    /* the kernel writes back when it likes */
    if (prng_one_in(&disk->prng, 8))
        for (struct simulated_file *file = disk->files; file; file = file->next)
            flush_some(disk, file, 3);
    if (prng_one_in(&disk->prng, 8))
        flush_names(disk, prng_below(&disk->prng, 3));
    if (disk->steps != disk->fault_at)
        return WORKS;
    disk->faulted = true;
    return FAILS;
}

/* ---- the calls ----------------------------------------------------------------------------------- */

static int simulated_open(struct disk *base, int directory, const char *name, int flags)
{
    struct simulated_disk *disk = of(base);
    enum fate fate = WORKS;
    struct stat status;
    if (disk->dead)
        goto fails;
    if (flags & O_CREAT)
        fate = next_step(disk, name, 0, 0);
    if (fate == FAILS || (fate == DIES && prng_one_in(&disk->prng, 2)))
        goto fails;
    int fd = system_disk.ops->open(base, directory, name, flags);
    if (fd < 0)
        return fd;
    if (flags & O_CREAT) {
        must(!file_named(disk, name), "a file that is made twice");
        struct simulated_file *file = mem_zalloc(sizeof *file);
        must(fstat(fd, &status) == 0, "fstat");
        file->inode = status.st_ino;
        file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        file->next = disk->files;
        disk->files = file;
        change_name(disk, file, name);
    }
    if (fate == WORKS)
        return fd;
    close(fd);
fails:
    errno = disk->dead || prng_one_in(&disk->prng, 2) ? EIO : EMFILE;
    return -1;
}

static ssize_t simulated_read(struct disk *base, int fd, void *data, size_t len, uint64_t offset)
{
    if (!of(base)->dead)
        return system_disk.ops->read(base, fd, data, len, offset);
    errno = EIO;
    return -1;
}

static ssize_t simulated_write(struct disk *base, int fd, const void *data, size_t len, uint64_t offset)
{
    struct simulated_disk *disk = of(base);
    enum fate fate = next_step(disk, "write", offset, crc32c(0, data, len));
    bool gone = fate == FAILS && disk->dead;
    if (fate != WORKS)
        len = gone ? 0 : prng_below(&disk->prng, len + 1);
    else if (len > 1 && prng_one_in(&disk->prng, 32))
        len = 1 + prng_below(&disk->prng, len - 1); /* a short write is not an error */
    if (len > 0) {
        struct simulated_file *file = file_of(disk, fd);
        must(system_disk.ops->write(base, fd, data, len, offset) == (ssize_t)len, "write");
        grow(file, offset + len);
        for (uint64_t i = offset / SECTOR; i * SECTOR < offset + len; i++)
            file->sectors[i] = DIRTY;
    }
    if (fate == WORKS)
        return (ssize_t)len;
    errno = EIO;
    return -1;
}

static int simulated_allocate(struct disk *base, int fd, uint64_t length)
{
    struct simulated_disk *disk = of(base);
    enum fate fate = next_step(disk, "allocate", length, 0);
    if (fate == WORKS && disk->full) {
        errno = ENOSPC;
        return -1;
    }
    if (fate == WORKS) {
        must(system_disk.ops->allocate(base, fd, length) == 0, "allocate");
        grow(file_of(disk, fd), length);
        return 0;
    }
    errno = EIO;
    return -1;
}

static int simulated_punch(struct disk *base, int fd, uint64_t offset, uint64_t length)
{
    struct simulated_disk *disk = of(base);
    enum fate fate = next_step(disk, "punch", offset, length);
    if (fate != WORKS) {
        errno = EIO;
        return -1;
    }
    must(system_disk.ops->punch(base, fd, offset, length) == 0, "punch");
    struct simulated_file *file = file_of(disk, fd);
    for (uint64_t i = offset / SECTOR; i * SECTOR < offset + length; i++)
        file->sectors[i] = DIRTY;
    return 0;
}

static int simulated_sync(struct disk *base, int fd)
{
    struct simulated_disk *disk = of(base);
    struct simulated_file *file = disk->dead ? NULL : file_of(disk, fd);
    enum fate fate = next_step(disk, file ? "sync" : "sync directory", 0, 0);
    if (fate == WORKS && !file && disk->defect != DEFECT_DIRECTORY_SYNC_SKIPPED)
        flush_names(disk, UINT64_MAX);
    if (fate == WORKS && file && disk->defect == DEFECT_SYNC_LATE)
        disk->owed = file;
    else if (fate == WORKS && file && disk->defect != DEFECT_SYNC_SKIPPED)
        flush_some(disk, file, 8);
    if (fate == WORKS)
        return 0;
    if (file)
        flush_some(disk, file, 4);
    if (file && fate == FAILS)
        for (uint64_t i = 0; i * SECTOR < file->length; i++)
            if (file->sectors[i] == DIRTY)
                file->sectors[i] = FORGOTTEN;
    if (file && fate == FAILS && disk->defect == DEFECT_SYNC_FAILURE_IGNORED)
        return 0;
    errno = EIO;
    return -1;
}

static int simulated_rename(struct disk *base, int directory, const char *from, const char *to)
{
    struct simulated_disk *disk = of(base);
    enum fate fate = next_step(disk, to, 0, 0);
    if (fate == WORKS || (fate == DIES && prng_one_in(&disk->prng, 2))) {
        must(system_disk.ops->rename(base, directory, from, to) == 0, "rename");
        change_name(disk, file_named(disk, from), to);
    }
    if (fate == WORKS)
        return 0;
    errno = EIO;
    return -1;
}

static int simulated_unlink(struct disk *base, int directory, const char *name)
{
    struct simulated_disk *disk = of(base);
    enum fate fate = next_step(disk, name, 1, 0);
    if (fate == WORKS || (fate == DIES && prng_one_in(&disk->prng, 2))) {
        if (system_disk.ops->unlink(base, directory, name) != 0)
            return -1;
        change_name(disk, file_named(disk, name), "");
    }
    if (fate == WORKS)
        return 0;
    errno = EIO;
    return -1;
}

static const struct disk_ops simulated_ops = {
    .open = simulated_open,
    .read = simulated_read,
    .write = simulated_write,
    .allocate = simulated_allocate,
    .punch = simulated_punch,
    .sync_data = simulated_sync,
    .sync = simulated_sync,
    .rename = simulated_rename,
    .unlink = simulated_unlink,
};

/* ---- life and death ------------------------------------------------------------------------------ */

static void free_file(struct simulated_file *file)
{
    close(file->fd);
    free(file->disk_data);
    free(file->sectors);
    free(file);
}

void simulated_disk_init(struct simulated_disk *disk, uint64_t seed, enum defect defect, int directory)
{
    *disk = (struct simulated_disk) { .disk = { &simulated_ops }, .prng = { seed }, .defect = defect, .directory = directory };
    disk->changes_end = &disk->changes;
}

void simulated_disk_destroy(struct simulated_disk *disk)
{
    while (disk->changes) {
        struct name_change *change = disk->changes;
        disk->changes = change->next;
        free(change);
    }
    while (disk->files) {
        struct simulated_file *file = disk->files;
        disk->files = file->next;
        free_file(file);
    }
}

void simulated_disk_restart(struct simulated_disk *disk)
{
    disk->dead = disk->faulted = disk->full = false;
    disk->die_at = disk->fault_at = 0;
}

void simulated_disk_cut_power(struct simulated_disk *disk)
{
    unsigned kept = (unsigned)prng_below(&disk->prng, 9);
    uint64_t n = 0;
    for (struct name_change *change = disk->changes; change; change = change->next)
        n++;
    flush_names(disk, prng_below(&disk->prng, n + 1));
    while (disk->changes) {
        struct name_change *change = disk->changes;
        disk->changes = change->next;
        free(change);
    }
    disk->changes_end = &disk->changes;
    disk->owed = NULL;
    for (struct simulated_file **link = &disk->files, *file; (file = *link);) {
        uint64_t length = prng_one_in(&disk->prng, 2) ? file->length : file->disk_length;
        flush_some(disk, file, kept == 8 ? 7 : kept);
        if (file->name[0])
            must(unlinkat(disk->directory, file->name, 0) == 0, "unlinkat");
        if (!file->disk_name[0]) {
            *link = file->next;
            free_file(file);
            continue;
        }
        close(file->fd);
        file->fd = -1;
        file->length = file->disk_length = length;
        link = &file->next;
    }
    for (struct simulated_file *file = disk->files; file; file = file->next) {
        struct stat status;
        memcpy(file->name, file->disk_name, NAME);
        file->fd = openat(disk->directory, file->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
        must(file->fd >= 0 && fstat(file->fd, &status) == 0, "openat");
        file->inode = status.st_ino;
        if (file->length > 0) {
            must(pwrite(file->fd, file->disk_data, file->length, 0) == (ssize_t)file->length, "pwrite");
            memset(file->sectors, CLEAN, (file->length + SECTOR - 1) / SECTOR);
        }
    }
    note(disk, "power cut", kept, n);
    simulated_disk_restart(disk);
}
