/* Completion scripts for shells, from the tables of the commands: what is known beforehand stands in the script, names
 * are asked for with `argon completion names`. What completes an argument follows from its placeholder: PROJECT,
 * BRANCH, COLLECTION, FILE, or the words of "a|b|c".
 */
#ifndef ARGON_CLI_COMPLETION_H
#define ARGON_CLI_COMPLETION_H

#include <stdio.h>

void completion_print_bash(FILE *out);
void completion_print_zsh(FILE *out);

#endif
