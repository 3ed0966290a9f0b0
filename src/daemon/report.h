/* report: what the daemon tells about itself, as JSON for the control socket. Reads, changes nothing. */
#ifndef DAEMON_REPORT_H
#define DAEMON_REPORT_H

#include "adit/dp.h"
#include "adit/ike.h"
#include "adit/io.h"
#include "handles.h"

#include <jansson.h>

struct report_source {
    const struct config *config;
    const struct handles *handles;
    const struct ike *ike;
    const struct dp *dp;
    struct crypto *crypto;
    uint64_t now, started;
    const struct io_hazard *warnings; /* about the host and the start */
    size_t n_warnings;
};
/* New references; NULL only when memory ran out. */
json_t *report_status(const struct report_source *s);
json_t *report_tunnels(const struct report_source *s, uint32_t only); /* TUNNEL_NONE: all */
json_t *report_sas(const struct report_source *s, uint32_t only);

/* "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384/KE1_ML_KEM_768", the way strongSwan writes it. */
#define SUITE_TEXT 192
const char *report_suite_text(const struct suite *s, char ret[SUITE_TEXT]);

#endif
