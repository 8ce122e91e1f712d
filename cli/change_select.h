/* Which changes are wanted: the options that log and watch share. */
#ifndef ARGON_CLI_CHANGE_SELECT_H
#define ARGON_CLI_CHANGE_SELECT_H

#include <bson/bson.h>

#include "cli/command.h"

/* --collection, --document-id, --after-lsn, --since */
extern const struct config_table change_select_options;

struct change_select {
    bool has_begin; /* --after-lsn or --since was given; it stands in the request then */
    bool has_id;
    bson_t id; /* {"_id": ...} */
};

/* Fills in project, branch, collection and after_lsn; --since asks the service for the LSN. */
CHECKED bool change_select_init(struct change_select *select, struct cli *cli, Argon__Branch__V1__WatchRequest *request, struct error *err);
void change_select_destroy(struct change_select *select); /* fine on {0} */

/* What the service does not filter by itself: the document. Equal as _id are equal: 1 and 1.0 are. */
bool change_select_matches(const struct change_select *select, const Argon__Branch__V1__Change *change);

#endif
