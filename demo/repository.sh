#!/bin/bash
# Make build/repo, a signed apt repository of the packages in build/deb, so that "apt install" works
# as it does from any archive. The key is made for this one repository and thrown away.
set -euo pipefail
cd "$(dirname "$0")/.."
repo=$PWD/build/repo

GNUPGHOME=$(mktemp -d)
export GNUPGHOME
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
sign() { gpg --batch --quiet --pinentry-mode loopback --passphrase '' "$@"; }

rm -rf "$repo"
mkdir -p "$repo"
cp build/deb/*.deb "$repo"
cd "$repo"
sign --quick-generate-key "bmx7-wg local build" ed25519 sign never 2>/dev/null
sign --armor --export >bmx7-wg.asc
apt-ftparchive packages . >Packages
apt-ftparchive -o APT::FTPArchive::Release::Origin=bmx7-wg \
    -o APT::FTPArchive::Release::Label="bmx7-wg local build" release . >"$GNUPGHOME/Release"
sign --clearsign --output InRelease "$GNUPGHOME/Release"
cat >bmx7-wg.sources <<END
Types: deb
URIs: file:$repo
Suites: ./
Signed-By: $repo/bmx7-wg.asc
END
