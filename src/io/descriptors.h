/* What an account needs opened inside its namespace, and the helper's wire: descriptors by SCM_RIGHTS. */
#ifndef ADIT_IO_DESCRIPTORS_H
#define ADIT_IO_DESCRIPTORS_H

#include "error.h"

#define NETNS_NAME_MAX 256
#define NETNS_FOLDER "/run/netns"
#define NETNS_PATH_MAX (NETNS_NAME_MAX + sizeof NETNS_FOLDER)

struct descriptors {
    int netlink; /* NETLINK_ROUTE */
    unsigned n_queues;
    int queue[IO_QUEUES_MAX]; /* of one TUN device */
};

/* In the namespace of the calling thread; `where` names it for the error's text. With `offload` each packet has a struct
 * virtio_net_hdr in front. On failure nothing stays open. */
enum rc descriptors_open(const char *where, const char *device, unsigned queues, bool offload, struct descriptors *ret,
                         struct io_error *ret_error) ADIT_MUST_USE;
void descriptors_close(struct descriptors *d);

/* Ask the helper for the same in another namespace. */
enum rc helper_request(struct io_helper *helper, const struct io_tun_config *config, struct descriptors *ret,
                       struct io_error *ret_error) ADIT_MUST_USE;

/* The two messages, both of fixed size, over a SOCK_SEQPACKET pair. */
struct helper_question {
    uint32_t id; /* of the question; an answer repeats it, so that one that came too late is told apart */
    uint32_t queues;
    uint32_t create, offload; /* 0 or 1 */
    char netns[NETNS_NAME_MAX];
    char device[16];
};
struct helper_answer { /* with 1 + queues descriptors when rc is RC_OK */
    uint32_t id;
    uint32_t rc;
    struct io_error error;
};

/* The file that a namespace's name stands for. */
enum rc netns_path(const char *name, char ret[NETNS_PATH_MAX], struct io_error *ret_error) ADIT_MUST_USE;
/* The helper's side: serve until the daemon's end of the pair closes. */
void helper_serve(int fd, int own_netns);
/* Enter the namespace `name` (made first when `create`); the caller comes back by setns(own_netns). */
enum rc netns_enter(const char *name, bool create, int own_netns, struct io_error *ret_error) ADIT_MUST_USE;

#endif
