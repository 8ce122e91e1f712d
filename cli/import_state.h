/* How far the import of a file has come, so that the same command goes on where an interrupted one stopped. It says nothing of the
 * replica, so any will do.
 *
 * What makes it right: before a batch is sent for the first time the file holds the id that all batches take theirs
 * from (ID-NUMBER), on disk. It may lag behind what has been sent: the batches in between are sent again with their
 * ids and answered from the log, and one whose documents have changed meanwhile is refused there. What is before
 * `done` is compared with the file by its digest. `clean` says that nothing has been sent under the id: then a new
 * one is taken, and options and the rest of the file may change.
 *
 * Errors     FAILED_PRECONDITION: another import of this file is running, or what is in the state is not understood.
 *            INTERNAL: the folder or the file cannot be written or read; there is no state then.
 */
#ifndef ARGON_CLI_IMPORT_STATE_H
#define ARGON_CLI_IMPORT_STATE_H

#include "cli/input.h"
#include "cli/resume_file.h"
#include "common/base/limits.h"

enum { IMPORT_SETTINGS_SIZE = 640, IMPORT_COLLECTION_ID_SIZE = 80 };

struct import_state {
    struct resume_file file; /* path NULL: this import keeps none */

    bool clean;
    char request_id[MAX_REQUEST_ID_BYTES + 1];
    char settings[IMPORT_SETTINGS_SIZE]; /* what else the batches are made from */
    char collection_id[IMPORT_COLLECTION_ID_SIZE];
    uint64_t batches; /* that are in */
    uint64_t lsn;     /* of the last one */
    uint64_t read, inserted, replaced, skipped, failed;
    struct input_place done; /* all before it has been dealt with */
};

/* Locks and loads. *found: an import was interrupted; else the state is fresh. With no home for it there is none. */
CHECKED bool import_state_open(struct import_state *state, const char *file, const char *project_id, const char *branch_id,
                               const char *collection, bool *found, struct error *err);
/* On disk when it returns. */
CHECKED bool import_state_save(const struct import_state *state, struct error *err);
/* The import is over: nothing is kept. */
void import_state_remove(const struct import_state *state);
void import_state_close(struct import_state *state); /* fine on {.file.lock_fd = -1} */

#endif
