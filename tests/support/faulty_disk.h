/* A disk on real files that fails on order and loses what was not synced.
 *
 * Every call that changes something is a step. A fault strikes at one step:
 *     FAULT_KILL  that step and all after it change nothing and fail: the process is gone
 *     FAULT_EIO   that step fails, the next ones work. A write stops halfway. A failed sync loses what it was to
 *                 sync, as the kernel does: it stays readable, and no later sync brings it to the disk
 * faulty_disk_cut_power then takes back what never reached the disk: any choice of the unsynced sectors of 512
 * bytes, and the renames of a directory that was not synced.
 *
 * Threads    the disk_ops: any.
 */
#ifndef ARGON_TESTS_FAULTY_DISK_H
#define ARGON_TESTS_FAULTY_DISK_H

#include "common/base/sync.h"
#include "wal-service/store/disk.h"

enum fault { FAULT_NONE, FAULT_KILL, FAULT_EIO };

struct faulty_disk {
    struct disk disk;  /* first: the functions cast back */
    struct mutex lock; /* rank 90; covers everything below */
    enum fault fault;
    uint64_t fault_at; /* 1: the first step */
    uint64_t steps;
    bool struck;
    uint64_t room; /* for a new file */
    struct unsynced_sector *sectors;
    struct unsynced_rename *renames;
};

void faulty_disk_init(struct faulty_disk *disk, enum fault fault, uint64_t fault_at);

/* Each thing unsynced is lost with a probability of lost/256; seed chooses which. */
void faulty_disk_cut_power(struct faulty_disk *disk, unsigned lost, uint64_t seed);

/* Longer files than this meet a full disk. At first there is room for any. */
void faulty_disk_set_room(struct faulty_disk *disk, uint64_t bytes);
void faulty_disk_destroy(struct faulty_disk *disk);

#endif
