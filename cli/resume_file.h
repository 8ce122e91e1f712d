/* Where a command keeps how far it has come, beside the user's files: $XDG_STATE_HOME/argon/NAME-KEY or
 * ~/.local/state/argon/NAME-KEY, where KEY is a hash of what the command is about. Held by one process at a time.
 *
 * Errors     FAILED_PRECONDITION: another process holds it. error_code_of_file's: the folder or the file cannot be written or read.
 */
#ifndef ARGON_CLI_RESUME_FILE_H
#define ARGON_CLI_RESUME_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

struct resume_file {
    char *path;  /* NULL: there is no home for it, and nothing is kept */
    int lock_fd; /* of all files of the user; this one's byte of it is locked */
};

/* Locks and loads; *text is what was saved last, data NULL when there is none, and freed by the caller. `what` names in errors what the
 * other process does. */
CHECKED bool resume_file_open(struct resume_file *file, const char *name, const char *const *parts, size_t n_parts, const char *what,
                              struct buffer *text, struct error *err);
/* On disk when it returns. */
CHECKED bool resume_file_save(const struct resume_file *file, struct bytes text, struct error *err);
/* Nothing is kept any more. */
void resume_file_remove(const struct resume_file *file);
void resume_file_close(struct resume_file *file); /* fine on {.lock_fd = -1} */

#endif
