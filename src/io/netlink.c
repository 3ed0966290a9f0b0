/* Talking to the kernel by netlink. The kernel answers within send(): an answer is there when it returns, nothing ever waits. */
#include "netlink.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX (32 * 1024) /* the kernel never makes a larger part of a dump */

int netlink_adopt(int fd, struct netlink *ret)
{
    /* Connected to the kernel (port 0): another process of the namespace cannot send us anything. */
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (connect(fd, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return errno;
    /* Dumps are filtered by what the request says. Kernels before 4.20 do not know the option; readers check for themselves. */
    int on = 1;
    setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    *ret = (struct netlink){.fd = fd};
    return 0;
}

int netlink_open(int protocol, struct netlink *ret)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return errno;
    int error = netlink_adopt(fd, ret);
    if (error)
        close(fd);
    return error;
}

void netlink_close(struct netlink *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

void *netlink_begin(union netlink_message *m, uint16_t type, uint16_t flags, size_t extra)
{
    mnl_nlmsg_put_header(m->bytes);
    m->header.nlmsg_type = type;
    m->header.nlmsg_flags = NLM_F_REQUEST | flags;
    return mnl_nlmsg_put_extra_header(&m->header, extra);
}

int netlink_ask(struct netlink *n, union netlink_message *m, mnl_cb_t each, void *ctx)
{
    _Alignas(struct nlmsghdr) uint8_t answer[ANSWER_MAX];
    bool interrupted = false;
    if ((m->header.nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
        m->header.nlmsg_flags |= NLM_F_ACK;
    m->header.nlmsg_seq = ++n->sequence;
    if (send(n->fd, m->bytes, m->header.nlmsg_len, 0) < 0)
        return errno;
    for (;;) {
        ssize_t len = recv(n->fd, answer, sizeof answer, MSG_DONTWAIT);
        if (len < 0)
            return interrupted ? EINTR : errno;
        int r = mnl_cb_run(answer, (size_t)len, n->sequence, 0, each, ctx);
        if (r < 0 && errno == EINTR)
            interrupted = true;            /* the rest is fetched nevertheless: the socket is busy until then */
        else if (r < 0 && errno != EPROTO) /* EPROTO: what is left of an answer that could not be received */
            return errno;
        else if (r == MNL_CB_STOP)
            return interrupted ? EINTR : 0;
    }
}
