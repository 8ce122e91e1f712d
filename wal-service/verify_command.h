/* wal-service --verify DIR: one line a segment, a summary. */
#ifndef ARGON_WAL_VERIFY_COMMAND_H
#define ARGON_WAL_VERIFY_COMMAND_H

#include <stdbool.h>
#include <stdio.h>

#include "common/base/error.h"

/* False: something is damaged (err untouched), or the directory could not be checked (err tells why). */
CHECKED bool verify_command(const char *directory, bool json, FILE *out, struct error *err);

#endif
