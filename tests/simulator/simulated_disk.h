/* A disk with a page cache that is not the disk.
 *
 * What the program reads and writes are files of a directory: the page cache. Beside them stands what a power cut
 * leaves: for each file the bytes that reached the disk, and the names that the directory has there. A sync brings
 * the sectors (512 bytes) that were written since to the disk; a sector reaches it whole or not at all, at any time, in
 * any order. Changes of names reach it in order. A sync that fails forgets that its sectors were to be written, as the
 * kernel does: they stay readable, and no later sync brings them to the disk.
 *
 * Every call that changes something is a step. At the chosen step the process dies: that step is done in part, and
 * nothing works after it. A fault strikes at one step and the next ones work.
 *
 * Threads    one at a time: the simulator waits for the program's background thread after each event.
 */
#ifndef ARGON_TESTS_SIMULATOR_SIMULATED_DISK_H
#define ARGON_TESTS_SIMULATOR_SIMULATED_DISK_H

#include "tests/simulator/prng.h"
#include "wal-service/store/disk.h"

/* Stores that are wrong in one way each, to show that the simulator finds it. */
enum defect {
    DEFECT_NONE,
    DEFECT_SYNC_SKIPPED,           /* fdatasync is not called */
    DEFECT_SYNC_LATE,              /* fdatasync is called after the answer */
    DEFECT_DIRECTORY_SYNC_SKIPPED, /* fsync of directories is not called */
    DEFECT_SYNC_FAILURE_IGNORED,   /* a failed fdatasync counts as one that worked */
};

struct simulated_file;
struct name_change;

struct simulated_disk {
    struct disk disk; /* first: the functions cast back */
    struct prng prng;
    enum defect defect;
    int directory;
    uint64_t steps;
    uint64_t die_at;   /* step; 0: never */
    uint64_t fault_at; /* step; 0: never */
    bool dead;         /* the process is gone */
    bool faulted;      /* the fault has struck */
    bool full;         /* no room for another file */
    struct simulated_file *files;
    struct name_change *changes, **changes_end; /* that did not reach the disk */
    struct simulated_file *owed;                /* DEFECT_SYNC_LATE */
    uint64_t digest;                            /* of everything that was done */
};

void simulated_disk_init(struct simulated_disk *disk, uint64_t seed, enum defect defect, int directory);
void simulated_disk_destroy(struct simulated_disk *disk);

/* The process starts again on what the page cache has; nothing is chosen to fail. */
void simulated_disk_restart(struct simulated_disk *disk);

/* The machine starts again: the directory is made anew from what reached the disk. No file of it is open. */
void simulated_disk_cut_power(struct simulated_disk *disk);

#endif
