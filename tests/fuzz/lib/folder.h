/* The files of a folder, in order of name. */
#ifndef ADIT_TESTS_FOLDER_H
#define ADIT_TESTS_FOLDER_H

#include "adit/base.h"

#define FOLDER_FILE_MAX (64 * 1024) /* the rest of a larger file is left out */
/* Calls take() with each regular file in an allocation of exactly its size. false: the folder or a file cannot be read, errno says
 * why. */
bool folder_each(const char *dir, void (*take)(void *ctx, const char *name, struct span bytes), void *ctx);

#endif
