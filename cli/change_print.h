/* How a change is shown: an object, or one line for people. */
#ifndef ARGON_CLI_CHANGE_PRINT_H
#define ARGON_CLI_CHANGE_PRINT_H

#include "argon/branch/v1/branch.pb-c.h"
#include "cli/output.h"

/* As an item of the list that is open. A line: LSN, time, kind, collection, _id, who, and the document if it came. */
CHECKED bool change_print(struct output *out, const Argon__Branch__V1__Change *change, struct error *err);

#endif
