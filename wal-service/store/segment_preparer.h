/* Makes the next segment's file in the background, one ahead, so that rotation costs one small write.
 *
 *     IDLE --want--> WANTED --thread--> WORKING --+--> READY --take--> IDLE
 *                       ^                         +--> FAILED --take--> WANTED (a failure that passes only)
 *                       +-- take -----------------------+
 *
 * Threads    want, take, make: the commit thread only. disk_full: any thread.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_PREPARER_H
#define ARGON_WAL_STORE_SEGMENT_PREPARER_H

#include "common/base/sync.h"
#include "wal-service/store/disk.h"
#include "wal-service/store/segment_file.h"

struct prepared_file {
    int fd;
    uint64_t length;
    char name[SEGMENT_NAME_SIZE];
};

enum preparer_state { PREPARER_IDLE, PREPARER_WANTED, PREPARER_WORKING, PREPARER_READY, PREPARER_FAILED };

struct segment_preparer {
    struct disk *disk;
    int directory;
    uint64_t length;
    pthread_t thread;
    bool started;
    struct mutex lock; /* rank 42; covers everything below */
    struct condition changed;
    enum preparer_state state;
    bool stopping;
    bool disk_full; /* the last attempt found no space */
    int failure;    /* errno of FAILED */
    uint64_t files; /* numbers the temporary names */
    struct prepared_file ready;
};

void segment_preparer_init(struct segment_preparer *preparer, struct disk *disk, int directory, uint64_t length);
void segment_preparer_start(struct segment_preparer *preparer);

/* Joins the thread, removes what was prepared and not taken. */
void segment_preparer_destroy(struct segment_preparer *preparer);

/* Asks for a file, unless one is there or under way, or the last attempt failed. */
void segment_preparer_want(struct segment_preparer *preparer);

/* Waits for the prepared file; tries again after a failure that passes. 0 or an errno. */
int segment_preparer_take(struct segment_preparer *preparer, struct prepared_file *file);

/* Makes a file of another length on the spot. 0 or an errno. */
int segment_preparer_make(struct segment_preparer *preparer, uint64_t length, struct prepared_file *file);

/* Waits until nothing is under way in the background. */
void segment_preparer_settle(struct segment_preparer *preparer);

/* Closes and removes a file that will not be published. */
void segment_preparer_discard(struct segment_preparer *preparer, struct prepared_file *file);

/* The disk was found full elsewhere. */
void segment_preparer_note_full(struct segment_preparer *preparer);
bool segment_preparer_disk_full(struct segment_preparer *preparer);

#endif
