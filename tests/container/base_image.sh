#!/usr/bin/env bash
# A base image from Debian's packages, for tests where no container registry can be reached.
# base_image.sh FOLDER TAG: needs root, mmdebstrap (faster than debootstrap) and buildah; the mirror is apt's.
set -euo pipefail
folder=$1 tag=$2
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | sort -u | head -n 1)
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
# The package index may be one whose certificate only this machine knows.
certificates=/etc/ssl/certs/ca-certificates.crt
mkdir -p "$folder"
# As in the image of that name, pip lies in /usr/local and may install there.
pip='wheel=$(echo /usr/share/python-wheels/pip-*.whl); PYTHONPATH=$wheel python3 -m pip install --quiet --no-index "$wheel"'
mmdebstrap --mode=root --variant=apt --include=python3,python3-distutils,python3-pip-whl,ca-certificates,passwd \
  --customize-hook="upload $certificates $certificates" \
  --customize-hook='rm "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
  --customize-hook="chroot \"\$1\" sh -c '$pip'" \
  "$release" "$folder/base.tar" "$mirror"
container=$(buildah from scratch)
buildah add --quiet "$container" "$folder/base.tar" / > /dev/null
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  --env SSL_CERT_FILE="$certificates" --env PIP_CERT="$certificates" "$container"
buildah commit --quiet --rm "$container" "$tag"
rm "$folder/base.tar"
