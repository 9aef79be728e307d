"""What a .tflite is: conversion, contract, detector. Imports neither model nor pipeline."""
