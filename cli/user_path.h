/* Where a user's files are, by the XDG base directories.
 * https://specifications.freedesktop.org/basedir-spec/latest/
 */
#ifndef ARGON_CLI_USER_PATH_H
#define ARGON_CLI_USER_PATH_H

#include "common/base/error.h"

/* $VARIABLE/argon/FILE or, where that is not set or not absolute, $HOME/FALLBACK/argon/FILE. NULL when there is no
 * $HOME either. Freed by the caller. */
char *user_path(const char *variable, const char *fallback, const char *file);

/* The folders on the way to the file, mode 0700. */
CHECKED bool user_path_make_folders(const char *path, struct error *err);

#endif
