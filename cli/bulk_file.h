/* The operations of a bulk write as a file has them, an object each, as mongosh's bulkWrite takes them:
 *
 *     {"insertOne": {"document": {"_id": 1}}}
 *     {"updateOne": {"filter": {"_id": 1}, "update": {"$inc": {"n": 1}}, "upsert": true, "arrayFilters": [...], "sort": {...}}}
 *     {"updateMany": {"filter": {}, "update": [{"$set": {"n": "$m"}}]}}
 *     {"replaceOne": {"filter": {"_id": 1}, "replacement": {}, "upsert": true, "sort": {...}}}
 *     {"deleteOne": {"filter": {"_id": 1}}}
 *     {"deleteMany": {"filter": {}}}
 */
#ifndef ARGON_CLI_BULK_FILE_H
#define ARGON_CLI_BULK_FILE_H

#include "cli/command.h"

/* "-": standard input. Everything lives in the command's arena. INVALID_ARGUMENT with the line of what is wrong. */
CHECKED bool bulk_file_read(struct cli *cli, const char *path, Argon__Branch__V1__BulkOperation ***operations, size_t *n,
                            struct error *err);

#endif
