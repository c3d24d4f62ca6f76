#!/bin/sh
# Makes the certificates that web.yml and prometheus.yml name, where there is no authority that issues them:
#
#     sh certificates.sh DNS:host.example,IP:192.0.2.7
#
# The argument is what Prometheus calls the host of observer. observer needs observer.crt, observer.key and
# clients-ca.crt; Prometheus needs observer-ca.crt, prometheus.crt and prometheus.key. With the keys of both authorities
# (*-ca.key, which belong elsewhere) beside it, it issues anew what they have issued: all of it expires in a year.
set -eu
umask 077
names=${1:?which names and addresses does the host have? DNS:host.example,IP:192.0.2.7}
days=365

authority() {
    [ ! -e "$1.crt" ] || return 0
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days $days -subj "/CN=$1" \
        -addext keyUsage=critical,keyCertSign -keyout "$1.key" -out "$1.crt"
}

# The authority, the name of the files, what is in the certificate, and whether it is for a server or a client.
issue() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
        -addext "subjectAltName=$3" -addext "extendedKeyUsage=$4" -keyout "$2.key" -out "$2.csr"
    openssl x509 -req -days $days -copy_extensions copy -in "$2.csr" -CA "$1.crt" -CAkey "$1.key" -out "$2.crt"
    rm "$2.csr"
}

authority observer-ca
issue observer-ca observer "$names" serverAuth
authority clients-ca
issue clients-ca prometheus DNS:prometheus clientAuth
