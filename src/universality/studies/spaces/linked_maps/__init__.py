"""The interactive map of two models' features: one offline page with two linked panels."""
