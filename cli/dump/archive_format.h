/* What reading and writing an archive share. */
#ifndef ARGON_CLI_DUMP_ARCHIVE_FORMAT_H
#define ARGON_CLI_DUMP_ARCHIVE_FORMAT_H

#define ARCHIVE_MAGIC      0x8199e26du
#define ARCHIVE_TERMINATOR 0xffffffffu
#define ARCHIVE_VERSION    "0.1"

#endif
