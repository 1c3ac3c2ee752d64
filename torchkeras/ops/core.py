"""What all operations share: conversion, shapes, control flow, scatter and slice."""

from __future__ import annotations

__all__: list[str] = []
