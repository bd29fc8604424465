# The targets that a developer and a machine use; "make help" lists them.
# Everything runs with Debian's own Python and Debian's packages.

export PATH := /usr/sbin:/usr/bin:/sbin:/bin
export PYTHONDONTWRITEBYTECODE := 1
export DEBIAN_FRONTEND := noninteractive
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

SOURCE := build/deb/bmx7-wg
MANPAGES := $(patsubst docs/%.rst,build/man/%,$(wildcard docs/*.[1-8].rst)) \
	build/man/org.bmx7.WireGuard1.5

# The source tree as it is, without what git ignores, on standard output.
TREE := git ls-files -z --cached --others --exclude-standard \
	| tar --create --null --files-from=- --ignore-failed-read
UPSTREAM = $(shell dpkg-parsechangelog --show-field=Version | sed 's/-[^-]*$$//')
CHANGED = $(shell dpkg-parsechangelog --show-field=Timestamp)

# Debian packages, for each purpose beyond the one before.
BUILD := build-essential debhelper dh-python dpkg-dev pybuild-plugin-pyproject python3-all \
	python3-docutils python3-setuptools python3-wheel
RUN := dbus-daemon iproute2 iputils-ping python3-cryptography python3-dbus-next python3-pyroute2 \
	python3-systemd wireguard-go
CHECK := black codespell fish flake8 isort libxml2-utils locales man-db mypy nftables \
	python3-hypothesis python3-pytest python3-pytest-xdist systemd wireguard-tools zsh
BOOT := e2fsprogs mmdebstrap qemu-system-x86 systemd-container
REPO := apt-utils gpg gpg-agent
STDEB := python3-stdeb
PEERS := tinc yggdrasil

# $(call install,PACKAGES): those that are missing; the lists are fetched only if it can't be done
# with the ones at hand.
define install
@missing=(); \
for package in $(1); do \
	dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed \
		|| missing+=($$package); \
done; \
if (($${#missing[@]})); then \
	echo "Installing from Debian: $${missing[*]}"; \
	get=(apt-get -qq -o Dpkg::Use-Pty=0 install --yes --no-install-recommends); \
	"$${get[@]}" "$${missing[@]}" >/dev/null 2>&1 </dev/null \
		|| { apt-get -qq update && "$${get[@]}" "$${missing[@]}" </dev/null >/dev/null; }; \
fi
endef

.PHONY: help demo check check-quick bench deb repo stdeb man deps clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## build and install the package, run a mesh of five nodes, remove it again
	$(call install,$(BUILD) $(RUN) $(REPO))
	@demo/demo.sh

check: deps ## everything: style, tests, package, containers, virtual machine (20 minutes)
	@tests/check

check-quick: ## what needs no package and no boot: style, tests (under 2 minutes)
	$(call install,$(BUILD) $(RUN) $(CHECK))
	@tests/check --quick

bench: ## all measurements of bench/
	$(call install,$(RUN) $(PEERS) $(BOOT) python3-matplotlib wireguard-tools)
	@for bench in $$(find bench -maxdepth 1 -type f -executable | sort); do $$bench; done

deb: ## the Debian packages and their source, in build/deb/
	$(call install,$(BUILD) $(RUN) python3-hypothesis python3-pytest systemd)
	@rm -rf build/deb
	@mkdir -p $(SOURCE)
	@$(TREE) >$(SOURCE).tar
	@tar --extract --file=$(SOURCE).tar --directory=$(SOURCE)
	@tar --create --auto-compress --directory=build/deb --exclude=bmx7-wg/debian \
		--sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw --mtime=@$(CHANGED) \
		--file=build/deb/bmx7-wg_$(UPSTREAM).orig.tar.xz bmx7-wg
	cd $(SOURCE) && dpkg-buildpackage --unsigned-source --unsigned-changes

repo: deb ## a signed apt repository of the packages, in build/repo/
	$(call install,$(REPO))
	@demo/repository.sh

stdeb: ## one package of the modules and commands alone, by stdeb from setup.cfg, in build/stdeb/
	$(call install,$(BUILD) $(RUN) $(STDEB))
	@rm -rf build/stdeb
	@mkdir -p build/stdeb/source
	@$(TREE) | tar --extract --directory=build/stdeb/source
	cd build/stdeb/source && DEB_BUILD_OPTIONS=nocheck python3 setup.py --quiet \
		--command-packages=stdeb.command sdist_dsc --compat=13 bdist_deb
	cp build/stdeb/source/deb_dist/*.deb build/stdeb

man: $(MANPAGES) ## the manual pages, in build/man/

# docutils before 0.20 sets literal blocks in a font that groff 1.23 doesn't know.
define manpage
rst2man --strict $(1) | sed '/^\.ft [CP]$$/d' >$@
endef

build/man/%: docs/%.rst
	@mkdir -p $(@D)
	$(call manpage,$<)

build/man/org.bmx7.WireGuard1.5: docs/bus-manual docs/org.bmx7.WireGuard1.5.in \
		dbus/org.bmx7.WireGuard1.xml
	@mkdir -p $(@D)
	$< >$@.rst
	$(call manpage,$@.rst)
	rm $@.rst

deps: ## install from Debian what all the others need
	$(call install,$(BUILD) $(RUN) $(CHECK) $(BOOT) $(REPO) $(STDEB))

clean: ## remove what the others made, except the cache of root file systems
	rm -rf build *.egg-info .pybuild .pytest_cache .mypy_cache .hypothesis
