/* An account's TUN: opening, packets in and out. */
#include "tun.h"
#include "pieces.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum rc tun_fail(const struct io_tun *tun, int error, const char *what, struct io_error *ret_error)
{
    enum rc rc = io_rc_of_errno(error);
    if (rc == RC_ABSENT && error != ENODEV)
        rc = RC_UNSUPPORTED;
    return io_fail_errno(ret_error, rc, error, "%s on %s%s%s", what, tun->device, tun->netns[0] ? " in " : "",
                         tun->netns);
}

/* ---- opening */

/* Which namespace the descriptors are in, to notice later that its name leads elsewhere. */
static bool note_namespace(struct io_tun *tun)
{
    struct stat st;
    int fd = ioctl(tun->netlink.fd, SIOCGSKNS);
    bool ok = fd >= 0 && fstat(fd, &st) == 0;
    if (fd >= 0)
        close(fd);
    if (ok) {
        tun->netns_dev = st.st_dev;
        tun->netns_ino = st.st_ino;
    }
    return ok;
}

static enum rc open_descriptors(struct io_helper *helper, const struct io_tun_config *config, struct io_tun *tun,
                                struct io_error *ret_error)
{
    enum rc rc;
    if (!config->netns)
        rc = descriptors_open("this network namespace", config->device, config->queues, &tun->descriptors, ret_error);
    else if (!helper)
        rc = io_fail(ret_error, RC_UNSUPPORTED,
                     "network namespace %s cannot be entered: no account had one when aditd started; restart it",
                     config->netns);
    else if ((rc = netns_path(config->netns, tun->netns, ret_error)) == RC_OK)
        rc = helper_request(helper, config, &tun->descriptors, ret_error);
    if (rc != RC_OK)
        return rc;
    snprintf(tun->device, sizeof tun->device, "%s", config->device);
    int error = netlink_adopt(tun->descriptors.netlink, &tun->netlink);
    if (error)
        return tun_fail(tun, error, "rtnetlink socket", ret_error);
    tun->descriptors.netlink = -1;
    if (tun->netns[0] && !note_namespace(tun))
        return tun_fail(tun, errno, "identity of the network namespace", ret_error);
    return RC_OK;
}

enum rc io_tun_open(struct io_helper *helper, const struct io_tun_config *config, struct io_tun **ret,
                    struct io_error *ret_error)
{
    struct io_tun *tun = calloc(1, sizeof *tun);
    if (!tun)
        return io_fail(ret_error, RC_NOMEM, "out of memory for device %s", config->device);
    tun->descriptors.netlink = tun->netlink.fd = -1;
    tun->account = config->account;
    enum rc rc = open_descriptors(helper, config, tun, ret_error);
    if (rc == RC_OK) {
        void *p = mmap(NULL, PKT_LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            rc = tun_fail(tun, ENOMEM, "memory for packets", ret_error);
        else
            tun->spill = p;
    }
    if (rc == RC_OK)
        rc = link_set_up(tun, ret_error);
    if (rc != RC_OK) {
        io_tun_close(tun);
        return rc;
    }
    *ret = tun;
    return RC_OK;
}

void io_tun_close(struct io_tun *tun)
{
    if (!tun)
        return;
    descriptors_close(&tun->descriptors);
    netlink_close(&tun->netlink);
    if (tun->spill)
        munmap(tun->spill, PKT_LARGE);
    free(tun);
}

bool io_tun_is_orphan(const struct io_tun *tun)
{
    struct stat st;
    if (!tun->netns[0])
        return false;
    if (stat(tun->netns, &st) < 0)
        return errno == ENOENT; /* anything else says nothing about the namespace */
    return st.st_dev != tun->netns_dev || st.st_ino != tun->netns_ino;
}

int io_tun_fd(const struct io_tun *tun, unsigned queue)
{
    return queue < tun->descriptors.n_queues ? tun->descriptors.queue[queue] : -1;
}

void io_tun_counts(const struct io_tun *tun, struct io_tun_counts *ret)
{
    *ret = tun->counts;
}

/* ---- packets */

/* Makes a packet of what was read into `p` and, beyond its capacity, the spill. NULL: it is dropped, p unused. */
static struct pkt *take(struct io_tun *tun, struct pkt_pool *pool, struct pkt *p, const struct iovec piece[2],
                        size_t len)
{
    if (len > PKT_LARGE) {
        tun->counts.read_truncated++;
        return NULL;
    }
    if (len > piece[0].iov_len) {
        struct pkt *large = pieces_join(pool, piece, len, 0);
        if (!large) {
            tun->counts.read_dropped++;
            return NULL;
        }
        pkt_put(pool, p);
        p = large;
    }
    p->len = (uint32_t)len;
    p->from = PKT_FROM_TUN;
    p->account = tun->account;
    tun->counts.read++;
    return p;
}

enum rc io_tun_read(struct io_tun *tun, unsigned queue, struct pkt_pool *pool, struct pkt **ret, size_t max,
                    size_t *ret_n)
{
    int fd = io_tun_fd(tun, queue);
    struct pkt *p = NULL;
    size_t n = 0;
    enum rc rc = RC_OK;
    for (size_t tries = 0; tries < max; tries++) {
        if (!p && !(p = pkt_get(pool, false)))
            break;
        struct iovec piece[2] = {{.iov_base = p->data, .iov_len = PKT_SMALL},
                                 {.iov_base = tun->spill, .iov_len = PKT_LARGE}};
        ssize_t len = readv(fd, piece, 2);
        if (len < 0) {
            if (errno == EBADFD)
                rc = RC_ABSENT;
            break; /* else EAGAIN */
        }
        struct pkt *taken = take(tun, pool, p, piece, (size_t)len);
        if (taken) {
            ret[n++] = taken;
            p = NULL;
        }
    }
    pkt_put(pool, p);
    *ret_n = n;
    return rc;
}

static void count_refusal(struct io_tun *tun, int error)
{
    if (error == EIO) /* the link is down */
        tun->counts.write_down++;
    else if (error == EAGAIN || error == ENOBUFS || error == ENOMEM)
        tun->counts.write_full++;
    else
        tun->counts.write_error++;
}

enum rc io_tun_write(struct io_tun *tun, unsigned queue, struct pkt *const *v, size_t n, size_t *ret_dropped)
{
    int fd = io_tun_fd(tun, queue);
    size_t written = 0;
    enum rc rc = RC_OK;
    for (size_t i = 0; rc == RC_OK && i < n; i++) {
        if (write(fd, v[i]->data, v[i]->len) >= 0)
            written++;
        else if (errno == EBADFD)
            rc = RC_ABSENT;
        else
            count_refusal(tun, errno);
    }
    tun->counts.written += written;
    *ret_dropped = n - written;
    return rc;
}
