# In place of OpenWrt's build system, as much of it as this repository's packages use: openwrt/build runs their
# Makefiles with TOPDIR here, so that what a package holds is written once.
#
#   OUT   where each package gets a folder: `root` with its files, and one file for each thing it says of itself
#   ARCH  the package architecture
#   BIN   the folder of the built programs

INCLUDE_DIR := $(TOPDIR)/include
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
INSTALL_DATA := install -m0644
INSTALL_CONF := install -m0600
CP := cp -fpR
LN := ln -sf
FIND := find
PKG_INSTALL_DIR := $(OUT)/built
