/* The disk behind one table of functions, so that tests and a simulator can stand in for it.
 *
 * Each function is the system call that its name says, with errno; `directory` is a descriptor as for openat.
 *
 * Threads    any.
 */
#ifndef ARGON_WAL_STORE_DISK_H
#define ARGON_WAL_STORE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk;

struct disk_ops {
    int (*open)(struct disk *disk, int directory, const char *name, int flags);
    ssize_t (*read)(struct disk *disk, int fd, void *data, size_t len, uint64_t offset);
    ssize_t (*write)(struct disk *disk, int fd, const void *data, size_t len, uint64_t offset);
    int (*allocate)(struct disk *disk, int fd, uint64_t length);               /* fallocate of the first length bytes */
    int (*punch)(struct disk *disk, int fd, uint64_t offset, uint64_t length); /* gives the blocks back, keeps the file's length */
    int (*sync_data)(struct disk *disk, int fd);
    int (*sync)(struct disk *disk, int fd); /* directories too */
    int (*rename)(struct disk *disk, int directory, const char *from, const char *to);
    int (*unlink)(struct disk *disk, int directory, const char *name);
};

struct disk {
    const struct disk_ops *ops;
};

extern struct disk system_disk;

/* 0 or an errno. Goes on after short writes and EINTR. */
int disk_write_all(struct disk *disk, int fd, const void *data, size_t len, uint64_t offset);

/* 0 or an errno; *got < len only at the end of the file. */
int disk_read_all(struct disk *disk, int fd, void *data, size_t len, uint64_t offset, size_t *got);

/* Turns writes past the page cache on or off: memory and length must then be multiples of 4096. False: this file
 * system cannot. */
bool disk_set_direct(int fd, bool direct);

/* The errnos that mean "no space", which passes, as opposed to "the disk fails". */
bool disk_is_full(int errnum);
/* Those that say nothing about the disk: it is full, or too many files are open. */
bool disk_failure_passes(int errnum);

#endif
