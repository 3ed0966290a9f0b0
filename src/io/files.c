/* Files for the configuration's reader. */
#include "adit/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static enum rc rc_of_open(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR: return RC_ABSENT;
    case EACCES:
    case EPERM: return RC_AUTH;
    case ENOMEM: return RC_NOMEM;
    }
    return RC_UNSUPPORTED;
}

/* Until its end, whatever fstat() said of its size: the file may grow meanwhile. What is outgrown may hold secrets; buf_append()
 * wipes it. */
static enum rc read_all(int fd, size_t max, struct buf *b)
{
    uint8_t piece[16 * 1024];
    enum rc rc = RC_OK;
    for (ssize_t n; rc == RC_OK && (n = read(fd, piece, sizeof piece)) != 0;) {
        if (n < 0 && errno != EINTR)
            rc = RC_UNSUPPORTED;
        else if (n > 0)
            rc = (size_t)n > max - b->n ? RC_LIMIT : buf_append(b, span_of(piece, (size_t)n));
    }
    wipe(piece, sizeof piece);
    return rc;
}

enum rc io_file_read(void *ctx, const char *path, size_t max, struct buf *ret, uint32_t *ret_mode, uint32_t *ret_uid)
{
    (void)ctx;
    struct buf content = {0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not hold us up */
    if (fd < 0)
        return rc_of_open(errno);
    enum rc rc = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read_all(fd, max, &content) : RC_UNSUPPORTED;
    close(fd);
    if (rc != RC_OK) {
        buf_free(&content);
        return rc;
    }
    buf_free(ret);
    *ret = content;
    *ret_mode = st.st_mode & 07777;
    *ret_uid = st.st_uid;
    return RC_OK;
}
