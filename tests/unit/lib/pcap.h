/* A small reader of pcap files: Ethernet, Linux cooked or raw IP; IPv4 and IPv6; UDP and anything else by protocol. */
#ifndef ADIT_TESTS_PCAP_H
#define ADIT_TESTS_PCAP_H

#include "adit/base.h"

struct pcap {
    uint8_t *data;
    size_t n;
    struct rd at;
    bool little, failed; /* failed: the file is not what it should be, `error` says why */
    uint32_t link;
    const char *error;
};
struct pcap_packet {
    struct path path; /* local is the destination; ports 0 unless UDP */
    uint8_t protocol; /* 17, 50, 47 .. */
    struct span payload;
};
bool pcap_open(struct pcap *p, const char *path); /* false: error is set */
bool pcap_next(struct pcap *p, struct pcap_packet *ret);
void pcap_close(struct pcap *p);

#endif
